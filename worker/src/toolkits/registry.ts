/** Turns what an agent's version says about its tools into the tools one run may use. */
import { PAGE } from "@agent-engine/core/client-tools/client-tool.ts";
import { builtinToolkit } from "@agent-engine/core/toolkits/builtin/builtin.ts";
import { parseBuiltinSettings } from "@agent-engine/core/toolkits/builtin/builtin-settings.ts";
import { BUILTIN, type BuiltinDeps } from "@agent-engine/core/toolkits/builtin/builtin-tool.ts";
import { isInstalled, shortName } from "@agent-engine/core/agents/installed-choices.ts";
import type { OpenInstalled } from "@agent-engine/core/toolkits/installed/open-installed.ts";
import { parseHttpSettings } from "@agent-engine/core/toolkits/http/http-settings.ts";
import { isSecretReference, mapSecretSettings } from "@agent-engine/core/toolkits/secret-settings.ts";
import { TOOL_NAME } from "@agent-engine/core/toolkits/tool-name.ts";
import type { ToolContext, ToolDescription, Toolkit } from "@agent-engine/core/toolkits/toolkit.ts";
import type { AgentConfig, ApprovalRules, ToolkitChoice, ToolPolicy } from "@agent-engine/protocol/resources.ts";
import type { Circuit } from "../engine/circuit.ts";
import type { RateLimit } from "../engine/rate-limit.ts";
import type { BoundTool, ToolAccount } from "../engine/bound-tool.ts";
import { argumentCheck, badSchema } from "@agent-engine/core/toolkits/argument-check.ts";
import type { Egress } from "@agent-engine/core/net/egress.ts";
import { toolPolicy } from "./tool-policy.ts";
import { httpToolkit } from "@agent-engine/core/toolkits/http/http.ts";
import { knowledgeToolkit, type SearchKnowledge } from "@agent-engine/core/toolkits/knowledge/knowledge.ts";

/** How long one attempt of a call may take unless its toolkit is stricter. */
const DEFAULT_DEADLINE_MS = 60_000;

export interface ToolkitSources {
  /** Searches the documents of the run's tenant. */
  searchKnowledge: SearchKnowledge;
  egress: Egress;
  /** What the built-in tools act through. */
  builtin: BuiltinDeps;
  /** Opens a toolkit that the tenant installed, or says why it cannot. */
  openInstalled?: (choice: ToolkitChoice) => Promise<OpenInstalled | { problem: string }>;
  /** Whose account a tool of it acts with. */
  accountOf?: (opened: OpenInstalled, tool: ToolDescription) => ToolAccount | undefined;
  /** What references in settings stand for; null when they cannot be opened. */
  secrets?: ReadonlyMap<string, string> | null;
  /** The circuit of a toolkit at a host, for the run's tenant. */
  circuitOf?: (toolkit: string, host: string) => Circuit;
  /** What a tool's other side asked of the run's tenant. */
  rateLimitOf?: (toolkit: string, host: string, tool: string) => RateLimit;
  deadlineMs?: number;
}

export interface BoundTools {
  tools: BoundTool[];
  /** For the log: toolkits and tools that were left out, and why. A run goes on without them. */
  problems: string[];
  /** Ends what the toolkits keep open between calls. Never rejects. */
  close(): Promise<void>;
}

/** What is bound so far, with the toolkits that it came from. */
type Binding = Omit<BoundTools, "close"> & { opened: Toolkit[] };

export async function bindTools(
  agent: Pick<AgentConfig, "toolkits" | "knowledge">,
  context: ToolContext,
  sources: ToolkitSources,
): Promise<BoundTools> {
  const bound: Binding = { tools: [], problems: [], opened: [] };
  if (agent.knowledge.enabled) {
    const toolkit = knowledgeToolkit(sources.searchKnowledge, agent.knowledge.maxResults);
    await bindToolkit(bound, toolkit, () => "auto", context, sources);
  }
  for (const choice of agent.toolkits) {
    // Those are not the agent's to have, but its pages'.
    if (choice.toolkit === PAGE) continue;
    const others = bound.tools.length;
    await bindChoice(bound, choice, context, sources);
    const approval = approvalOf(choice, context);
    if (approval) for (const tool of bound.tools.slice(others)) tool.approval = approval;
  }
  const { tools, problems, opened } = bound;
  return {
    tools,
    problems,
    async close() {
      await Promise.allSettled(opened.map(async (toolkit) => toolkit.close?.()));
    },
  };
}

async function bindChoice(
  bound: Binding,
  choice: ToolkitChoice,
  context: ToolContext,
  sources: ToolkitSources,
): Promise<void> {
  if (isInstalled(choice)) return bindInstalled(bound, choice, context, sources);
  const toolkit = openToolkit(choice, sources, bound.problems);
  if (toolkit) await bindToolkit(bound, toolkit, (name) => policyOf(choice, toolkit, name), context, sources);
}

/** Where there is no visitor, what only they may approve is for the team. */
function approvalOf({ approvals }: ToolkitChoice, { visitorId }: ToolContext): ApprovalRules | undefined {
  return approvals?.by === "visitor" && visitorId === null ? { ...approvals, by: "operator" } : approvals;
}

async function bindInstalled(
  bound: Binding,
  choice: ToolkitChoice,
  context: ToolContext,
  sources: ToolkitSources,
): Promise<void> {
  const opened = (await sources.openInstalled?.(choice)) ?? { problem: "there are no installed toolkits here" };
  if ("problem" in opened) {
    bound.problems.push(`toolkit ${choice.toolkit}: ${opened.problem}`);
    return;
  }
  const { toolkit } = opened;
  const policyFor = (name: string, remote?: string) => policyOf(choice, toolkit, name, remote);
  await bindToolkit(bound, toolkit, policyFor, context, sources, (tool) => sources.accountOf?.(opened, tool));
}

function openToolkit(choice: ToolkitChoice, sources: ToolkitSources, problems: string[]): Toolkit | null {
  if (choice.toolkit === BUILTIN) {
    const parsed = parseBuiltinSettings(choice.settings);
    if (parsed.settings) return builtinToolkit(parsed.settings, sources.builtin);
    problems.push(...parsed.problems.map((problem) => `toolkit builtin: ${problem}`));
    return null;
  }
  if (choice.toolkit === "http") {
    const opened = openSecrets(choice, sources.secrets ?? null);
    if (opened === null) {
      problems.push("toolkit http: a credential in its settings cannot be opened; give it anew");
      return null;
    }
    const parsed = parseHttpSettings(opened.settings);
    if (parsed.settings) return httpToolkit(parsed.settings, sources.egress);
    problems.push(...parsed.problems.map((problem) => `toolkit http: ${problem}`));
    return null;
  }
  problems.push(`toolkit ${choice.toolkit}: there is no toolkit of this name`);
  return null;
}

/** The toolkit with its secrets in place; null when one of them is not to be had. */
function openSecrets(choice: ToolkitChoice, secrets: ReadonlyMap<string, string> | null): ToolkitChoice | null {
  let isOpen = true;
  const opened = mapSecretSettings(choice, (value) => {
    if (!isSecretReference(value)) return value;
    const secret = secrets?.get(value.secret);
    if (secret === undefined) isOpen = false;
    return secret;
  });
  return isOpen ? opened : null;
}

/** A policy names a tool as the model sees it, without its namespace, or as the other side does. */
function policyOf(choice: ToolkitChoice, toolkit: Toolkit, name: string, remote = name): ToolPolicy {
  return toolPolicy(choice, name, shortName(toolkit.name, name), remote);
}

async function bindToolkit(
  bound: Binding,
  toolkit: Toolkit,
  policyFor: (name: string, remote?: string) => ToolPolicy,
  context: ToolContext,
  sources: ToolkitSources,
  accountOf: (tool: ToolDescription) => ToolAccount | undefined = () => undefined,
): Promise<void> {
  bound.opened.push(toolkit);
  const circuit = toolkit.host === null ? null : sources.circuitOf?.(toolkit.name, toolkit.host);
  for (const description of await toolkit.list()) {
    const { name } = description;
    const remote = "remote" in description ? String(description.remote) : undefined;
    const policy = policyFor(name, remote);
    if (policy === "off") continue;
    const account = accountOf(description);
    const question = toolkit.question?.(name);
    const rateLimit = toolkit.host === null ? null : sources.rateLimitOf?.(toolkit.name, toolkit.host, name);
    // Our own schemas are known to be right, and are compiled when a model first calls.
    const badParameters = () => (toolkit.host === null ? null : (badSchema(description.parameters)?.message ?? null));
    const problem = problemOf(description, bound, account) ?? badParameters();
    if (problem !== null) {
      bound.problems.push(`tool ${name}: ${problem}`);
      continue;
    }
    bound.tools.push({
      description,
      toolkit: toolkit.name,
      host: toolkit.host,
      ...(circuit ? { circuit } : {}),
      ...(rateLimit ? { rateLimit } : {}),
      ...(account ? { account } : {}),
      ...(question ? { ask: (invocation) => question(invocation.arguments) } : {}),
      policy,
      deadlineMs: sources.deadlineMs ?? DEFAULT_DEADLINE_MS,
      checkArguments: (args) => argumentCheck(description.parameters)(args),
      call: (request) => toolkit.execute(name, { ...request, context }),
      classifyFailure: (error) => toolkit.classifyFailure(error),
    });
  }
}

function problemOf(description: ToolDescription, bound: Binding, account: ToolAccount | undefined): string | null {
  if (!TOOL_NAME.test(description.name)) return "its name is not valid for every model provider";
  if (bound.tools.some((tool) => tool.description.name === description.name)) return "another tool has the same name";
  if (description.connection !== "none" && !account)
    return `it needs a ${description.connection} connection, and there is none`;
  return null;
}
