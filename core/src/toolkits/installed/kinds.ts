/** The kinds that can be installed. Each is loaded when it is first needed: an idle process holds none of them. */
import { ProblemError } from "../../errors.ts";
import type { ToolkitKind, ToolkitKindName } from "../toolkit-kind.ts";

const LOADERS: Partial<Record<ToolkitKindName, () => Promise<ToolkitKind>>> = {
  http: async () => (await import("../http/http-kind.ts")).httpKind as ToolkitKind,
  composio: async () => (await import("../composio/composio-kind.ts")).composioKind as ToolkitKind,
};

/** @throws ProblemError `invalid_request` */
export async function kindOf(name: ToolkitKindName): Promise<ToolkitKind> {
  const load = LOADERS[name];
  if (!load) throw new ProblemError("invalid_request", `There is no kind of toolkit ${name} here.`);
  return load();
}
