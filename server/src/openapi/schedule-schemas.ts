/** Schedules, for the OpenAPI document. Held to `protocol/`. */
import { z } from "@hono/zod-openapi";
import type { Schedule } from "@agent-engine/protocol/schedules.ts";

const time = z.string().openapi({ format: "date-time", example: "2026-11-22T12:00:00.000Z" });
const id = (prefix: string) =>
  z.string().openapi({ pattern: `^${prefix}_[0-9a-f]{32}$`, example: `${prefix}_0198c0de00007000800000000000cafe` });

export const scheduleSchema: z.ZodType<Schedule> = z
  .object({
    id: id("schedule"),
    agentId: id("agent"),
    conversationId: id("conv").nullable().openapi({ description: "Null until it starts a conversation of its own." }),
    at: time.openapi({ description: "When it is due. It starts within seconds, in the `standard` class." }),
    input: z.string(),
    createdBy: z.enum(["agent", "staff"]).openapi({ description: "`agent`: a follow-up that the agent planned." }),
    status: z.enum(["open", "started", "cancelled", "failed"]),
    reason: z.string().nullable().openapi({ description: "Why it was cancelled or failed." }),
    runId: id("run").nullable(),
    createdAt: time,
  })
  .openapi("Schedule");
