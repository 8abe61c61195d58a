import { chromium, type Browser } from "playwright-core";
import { requireProgram } from "./programs.ts";

/** The machine's Chromium, without a window, and without the calls home that would make tests depend on a network. */
export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: requireProgram("chromium"),
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}
