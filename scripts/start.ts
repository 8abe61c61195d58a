/**
 * `npm start`'s entry: lets Node keep what it compiles, then starts the process. Types are stripped and modules compiled
 * once instead of at every start, which saves a second start about a second and each process some 30 MB.
 */
import { enableCompileCache } from "node:module";
import { join } from "node:path";

enableCompileCache(join(import.meta.dirname, "../node_modules/.cache/agent-engine"));
await import("./start-process.ts");
