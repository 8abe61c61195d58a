import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import { MAX_SCHEDULE_LENGTH } from "@agent-engine/protocol/schemas/schedules.ts";
import { MAX_DAYS_AHEAD } from "../../schedules/insert-schedule.ts";
import type { ToolAnswer } from "../toolkit.ts";
import { builtinTool, type BuiltinDeps, type BuiltinTool } from "./builtin-tool.ts";
import type { BuiltinSettings } from "./builtin-settings.ts";
import { localTime } from "./time-zone.ts";

const MINUTE_MS = 60_000;
const MAX_MINUTES = MAX_DAYS_AHEAD * 24 * 60;
/** ISO 8601 with its offset: without one nobody knows which moment is meant. */
const MOMENT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$/;

export function scheduleFollowUp(
  settings: BuiltinSettings,
  { now, planFollowUp }: Pick<BuiltinDeps, "now" | "planFollowUp">,
): BuiltinTool {
  return builtinTool(
    "schedule_follow_up",
    {
      description:
        "Plans that you come back to this conversation later by yourself, for instance to remind the visitor or to look " +
        "whether something has happened meanwhile. At that time you are given your instructions and answer without being " +
        `asked. Give either \`at\` or \`inMinutes\`, at most ${MAX_DAYS_AHEAD} days ahead. Tell the visitor what you have planned.`,
      parameters: {
        type: "object",
        properties: {
          at: {
            type: "string",
            maxLength: 40,
            description: "The moment, in ISO 8601 with its offset, for instance 2026-11-23T09:00:00+01:00.",
          },
          inMinutes: { type: "integer", minimum: 1, maximum: MAX_MINUTES, description: "Or: in so many minutes." },
          instructions: {
            type: "string",
            minLength: 1,
            maxLength: MAX_SCHEDULE_LENGTH,
            description: "What you are to do then, with all that you need to know for it.",
          },
        },
        required: ["instructions"],
        additionalProperties: false,
      },
      effect: "idempotent",
      visibility: { arguments: false, results: false },
    },
    async ({ arguments: args, context, idempotencyKey }): Promise<ToolAnswer> => {
      const at = momentOf(args, now());
      if (typeof at === "string") return { content: at, isError: true };
      const instructions = cleanText(String(args.instructions)).trim();
      if (instructions === "") return { content: "`instructions` must not be empty.", isError: true };
      const { conversationId, agentId, runId } = context;
      const planned = await planFollowUp({ conversationId, agentId, runId, callKey: idempotencyKey, at, instructions });
      if ("problem" in planned) return { content: planned.problem, isError: true };
      const timeZone = settings.timeZone ?? "UTC";
      return { content: { plannedFor: localTime(Date.parse(planned.at), timeZone).time, timeZone } };
    },
  );
}

/** Milliseconds since the epoch, or what is wrong, in words that a model can act on. */
export function momentOf(args: Readonly<Record<string, unknown>>, now: number): number | string {
  const { at, inMinutes } = args;
  if ((at === undefined) === (inMinutes === undefined)) return "Give either `at` or `inMinutes`, and not both.";
  if (inMinutes !== undefined) {
    if (typeof inMinutes === "number" && Number.isInteger(inMinutes) && inMinutes >= 1 && inMinutes <= MAX_MINUTES)
      return now + inMinutes * MINUTE_MS;
    return `\`inMinutes\` must be a whole number from 1 to ${MAX_MINUTES}.`;
  }
  const moment = typeof at === "string" && MOMENT.test(at) ? Date.parse(at) : Number.NaN;
  if (Number.isNaN(moment)) {
    return "`at` must be a moment in ISO 8601 with its offset, for instance 2026-11-23T09:00:00+01:00.";
  }
  return moment;
}
