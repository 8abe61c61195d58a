/** The tools that need nothing from outside: the time, a follow-up later, a person instead of the agent, a form. */
import { failureOf } from "../failure-table.ts";
import type { Toolkit } from "../toolkit.ts";
import type { BuiltinSettings } from "./builtin-settings.ts";
import { BUILTIN, type BuiltinDeps } from "./builtin-tool.ts";
import { collectForm } from "./collect-form.ts";
import { currentTime } from "./current-time.ts";
import { handOver } from "./hand-over.ts";
import { scheduleFollowUp } from "./schedule-follow-up.ts";

export function builtinToolkit(settings: BuiltinSettings, deps: BuiltinDeps): Toolkit {
  const all = [currentTime(settings, deps), scheduleFollowUp(settings, deps), handOver(deps)];
  if (deps.hasVisitor) all.push(collectForm());
  const tools = new Map(all.map((tool) => [tool.description.name, tool]));
  return {
    name: BUILTIN,
    host: null,
    list: () => Promise.resolve([...tools.values()].map(({ description }) => description)),
    describe: (name) => Promise.resolve(tools.get(name)?.description ?? null),
    async execute(name, request) {
      const tool = tools.get(name);
      if (!tool) throw new Error(`there is no built-in tool ${name}`);
      return tool.call(request);
    },
    question: (name) => tools.get(name)?.ask,
    // Each is a read, or does the same thing once however often it is called.
    classifyFailure: (error) =>
      failureOf("tool.builtin_failed", error instanceof Error ? error.message : String(error)),
  };
}
