import { setFlagsFromString } from "node:v8";

/**
 * Lets no more code be compiled in the background. A process calls it when it begins to stop: one that ends while V8
 * compiles beside it can hang for good, the end waiting for the compiler's thread and that thread for a garbage
 * collection (https://github.com/nodejs/node/issues/54918).
 */
export function stopCompiling(): void {
  for (const flag of ["--no-turbofan", "--no-maglev", "--no-sparkplug"]) setFlagsFromString(flag);
}
