import { relative } from "node:path";
import type { Config } from "@agent-engine/core/config/env.ts";
import { isForMachines } from "./logger.ts";
import type { Served } from "./served.ts";

export interface Announcement {
  config: Config;
  served: Served;
  /** Absolute; null when there was nothing to write into it. */
  devFile: string | null;
  /** Absolute; null when the log goes to the standard output. */
  logFile: string | null;
  /** From the process's begin to now. */
  seconds: number;
}

const NO_MODEL = `
  No model is configured, so the demo agent quotes its documents. For a language model set OPENAI_API_KEY,
  OPENAI_BASE_URL or ANTHROPIC_API_KEY.`;

/** What a person wants to know once everything runs; for machines, one line of the log. */
export function announce(announcement: Announcement, say: (message: string) => void): void {
  const { config, served, devFile, logFile } = announcement;
  const ready = `Ready in ${announcement.seconds.toFixed(1)} s`;
  if (isForMachines(config)) {
    say(served.apiUrl === null ? ready : `${ready} at ${served.apiUrl}`);
    return;
  }
  const row = (name: string, value: string) => say(`  ${name.padEnd(17)}${value}`);
  say(`${ready}.\n`);
  if (served.apiUrl !== null) row("API", `${served.apiUrl}   (reference: ${served.apiUrl}/docs)`);
  if (served.demoUrl !== null) row("Demo page", served.demoUrl);
  if (served.demo !== null) {
    row("Publishable key", served.demo.publishableKey);
    row("Secret key", served.demo.secretKey);
    const { adminEmail, adminPassword } = served.demo;
    if (adminEmail !== undefined && adminPassword !== undefined) {
      row("Admin", adminEmail);
      row("Admin's password", adminPassword);
    }
  } else {
    say("  The demo's keys are not known: this database holds something else, or dev.json is gone.");
    if (config.databaseUrl === null) say("  `npm start -- --reset` starts over.");
  }
  if (devFile !== null) row("All of it", relative(process.cwd(), devFile));
  if (logFile !== null) row("Log", relative(process.cwd(), logFile));
  const { openaiApiKey, openaiBaseUrl, anthropicApiKey } = config.models;
  if (openaiApiKey === null && openaiBaseUrl === null && anthropicApiKey === null) say(NO_MODEL);
  say("\nCtrl-C stops everything.");
}
