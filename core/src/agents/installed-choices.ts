/** Toolkits that an agent names by id: installed ones. A draft follows their latest revision; a version pins one. */
import { z } from "zod";
import type { AgentConfig, ToolkitChoice } from "@agent-engine/protocol/resources.ts";
import { isId } from "@agent-engine/protocol/ids.ts";
import { findConnection } from "../connections/connection-rows.ts";
import type { Tx } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { findToolkit, type ToolkitId } from "../toolkits/installed/toolkit-rows.ts";

const settingsSchema = z.strictObject({
  /** Which of the tenant's accounts is used; its default one where none is named. */
  connectionId: z.string().max(100).optional(),
  /** Of a published version. What a draft says here counts for nothing. */
  revision: z.int().min(1).optional(),
});

export type InstalledSettings = z.output<typeof settingsSchema>;

export function isInstalled(choice: ToolkitChoice): choice is ToolkitChoice & { toolkit: ToolkitId } {
  return isId("toolkit", choice.toolkit);
}

export function installedSettings({ settings }: ToolkitChoice): InstalledSettings {
  return settingsSchema.parse(settings);
}

/** One line for each problem of the settings of a toolkit that is named by id. */
export function installedProblems({ settings }: ToolkitChoice): string[] {
  const parsed = settingsSchema.safeParse(settings);
  return parsed.success ? [] : parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
}

/** Refuses what is not the tenant's, and policies for tools that do not exist. @throws ProblemError `invalid_request` */
export async function checkInstalled(tx: Tx, toolkits: AgentConfig["toolkits"]): Promise<void> {
  const problems: string[] = [];
  for (const [index, choice] of toolkits.entries()) {
    if (!isInstalled(choice)) continue;
    for (const problem of await problemsOf(tx, choice)) problems.push(`toolkits[${index}]${problem}`);
  }
  if (problems.length > 0) throw new ProblemError("invalid_request", `${problems.join("; ")}.`);
}

async function problemsOf(tx: Tx, choice: ToolkitChoice): Promise<string[]> {
  const toolkit = await orNull(findToolkit(tx, choice.toolkit));
  if (!toolkit) return [`: there is no toolkit ${choice.toolkit}`];
  const names = new Set(toolkit.tools.flatMap(({ name, remote }) => [name, remote, shortName(toolkit.name, name)]));
  const unknown = Object.keys(choice.tools).filter((name) => !names.has(name));
  const { connectionId } = installedSettings(choice);
  const connection = connectionId === undefined ? null : await orNull(findConnection(tx, connectionId));
  const isForeign =
    connectionId !== undefined && (connection?.toolkitId !== toolkit.id || connection.visitorId !== null);
  return [
    ...unknown.map((name) => `.tools: ${toolkit.title} has no tool ${JSON.stringify(name)}`),
    ...(isForeign ? [".settings.connectionId: is not one of the tenant's accounts for this toolkit"] : []),
  ];
}

/** Without its namespace. */
export function shortName(namespace: string, name: string): string {
  return name.startsWith(`${namespace}_`) ? name.slice(namespace.length + 1) : name;
}

async function orNull<T>(finding: Promise<T>): Promise<T | null> {
  try {
    return await finding;
  } catch (error) {
    if (error instanceof ProblemError && error.code === "not_found") return null;
    throw error;
  }
}

/** As a version keeps them: each at the revision that is the latest now. */
export async function pinRevisions(tx: Tx, toolkits: AgentConfig["toolkits"]): Promise<ToolkitChoice[]> {
  const pinned: ToolkitChoice[] = [];
  for (const choice of toolkits) {
    if (!isInstalled(choice)) pinned.push(choice);
    else {
      const { revision } = await findToolkit(tx, choice.toolkit);
      pinned.push({ ...choice, settings: { ...choice.settings, revision } });
    }
  }
  return pinned;
}

/** As a draft says it. */
export function withoutPins(config: AgentConfig): AgentConfig {
  const toolkits = config.toolkits.map((choice) => {
    if (!isInstalled(choice)) return choice;
    const { revision: _revision, ...settings } = choice.settings;
    return { ...choice, settings };
  });
  return { ...config, toolkits };
}
