import { openapiDocument } from "@agent-engine/core/toolkits/openapi/openapi-settings.ts";
import type { KindDeps } from "@agent-engine/core/toolkits/toolkit-kind.ts";
import { z } from "zod";
import type { Api } from "../http/api.ts";
import { openapiPreviewSchema } from "../openapi/openapi-preview-schema.ts";

export function openapiPreviewRoutes(api: Api, kinds: Pick<KindDeps, "egress">): void {
  api.route(
    {
      method: "post",
      path: "/v1/toolkits/openapi/preview",
      tag: "Toolkits",
      summary: "Look at an OpenAPI document",
      description:
        "What installing it would bring: where it goes, which credential it asks for, which of its operations can be tools. `document` is `{url}`, `{text}` or `{json}`. Nothing is kept.",
      access: { scope: "toolkits:write", visitor: false },
      body: z.strictObject({ document: openapiDocument }),
      transaction: "none",
      status: 200,
      answer: openapiPreviewSchema,
    },
    async ({ ctx, body }) => {
      // With its parser, of which a server that nobody asks holds nothing.
      const { previewOpenapi } = await import("@agent-engine/core/toolkits/openapi/preview-openapi.ts");
      return previewOpenapi(ctx, kinds, body);
    },
  );
}
