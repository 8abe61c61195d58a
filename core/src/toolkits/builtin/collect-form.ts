import { builtinTool, type BuiltinTool } from "./builtin-tool.ts";
import { answerSchema, formOf, formParameters, MAX_FIELDS } from "./form.ts";

/** Whoever was asked may come back tomorrow. */
const OPEN_MS = 86_400_000;

/** Asks the visitor in a form; their page answers the call, and the run waits for it. */
export function collectForm(): BuiltinTool {
  const tool = builtinTool(
    "collect_form",
    {
      description:
        "Shows the visitor a form and gives you what they filled in. Use it for several facts at once, or for one that " +
        `must be exact, such as an address or a date; ask a simple question in words instead. At most ${MAX_FIELDS} fields. ` +
        "Never ask for passwords or card numbers.",
      parameters: formParameters,
      effect: "read",
      visibility: { arguments: false, results: false },
    },
    () => {
      throw new Error("a form is answered by the visitor, not by us");
    },
  );
  return {
    ...tool,
    ask(args) {
      const form = formOf(args);
      return {
        message: form.title,
        metadata: { kind: "form", ...form },
        responseSchema: answerSchema(form),
        expiresInMs: OPEN_MS,
      };
    },
  };
}
