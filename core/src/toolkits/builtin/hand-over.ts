import type { ToolAnswer } from "../toolkit.ts";
import { builtinTool, type BuiltinDeps, type BuiltinTool } from "./builtin-tool.ts";

export function handOver({ handOver: give }: Pick<BuiltinDeps, "handOver">): BuiltinTool {
  return builtinTool(
    "hand_over",
    {
      description:
        "Hands this conversation over to a person of the team: when the visitor asks for one, is upset, or needs what you " +
        "cannot do. From then on a person answers here, and you do not. It cannot be taken back by you.",
      parameters: {
        type: "object",
        properties: {
          reason: {
            type: "string",
            minLength: 1,
            maxLength: 1_000,
            description: "For the team: what the visitor wants, and what has been tried. The visitor does not see it.",
          },
        },
        required: ["reason"],
        additionalProperties: false,
      },
      effect: "idempotent",
      visibility: { arguments: false, results: false },
    },
    async ({ context: { conversationId, runId } }): Promise<ToolAnswer> => {
      const given = await give({ conversationId, runId });
      if ("problem" in given) return { content: given.problem, isError: true };
      return {
        content:
          "The team has the conversation now. Tell the visitor in a sentence or two that a person will answer here, and " +
          "say nothing about when. Then stop.",
      };
    },
  );
}
