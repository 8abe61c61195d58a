import { cancelSchedule } from "@agent-engine/core/schedules/cancel-schedule.ts";
import { createSchedule } from "@agent-engine/core/schedules/create-schedule.ts";
import { getSchedule } from "@agent-engine/core/schedules/get-schedule.ts";
import { listSchedules } from "@agent-engine/core/schedules/list-schedules.ts";
import { scheduleRequest } from "@agent-engine/protocol/schemas/schedules.ts";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { scheduleSchema } from "../openapi/schedule-schemas.ts";
import { pageSchema } from "../openapi/schemas.ts";

const tag = "Schedules";
const read = { scope: "runs:read", visitor: false } as const;
const write = { scope: "runs:write", visitor: false } as const;

export function scheduleRoutes(api: Api): void {
  api.route(
    {
      method: "post",
      path: "/v1/schedules",
      tag,
      summary: "Start a run later",
      description:
        "What `POST /v1/runs` does, at `at`: within the next 30 days, with `Z` or an offset. In a conversation of its own, or as a message of an existing one, which may have ten that have not started.",
      access: write,
      body: scheduleRequest,
      status: 201,
      answer: scheduleSchema,
    },
    ({ ctx, body }) => createSchedule(ctx, body),
  );

  api.route(
    {
      method: "get",
      path: "/v1/schedules",
      tag,
      summary: "List schedules, newest first",
      description: "Those of partners, and the follow-ups that agents have planned; also those that are over.",
      access: read,
      query: pageQuery,
      status: 200,
      answer: pageSchema(scheduleSchema),
    },
    ({ ctx, query }) => listSchedules(ctx, pageRequest(query)),
  );

  api.route(
    {
      method: "get",
      path: "/v1/schedules/{scheduleId}",
      tag,
      summary: "Read a schedule",
      access: read,
      status: 200,
      answer: scheduleSchema,
    },
    ({ ctx, params }) => getSchedule(ctx, params.scheduleId),
  );

  api.route(
    {
      method: "delete",
      path: "/v1/schedules/{scheduleId}",
      tag,
      summary: "Cancel a schedule",
      description: "It stays on record. 409 when it has started: cancel its run then.",
      access: write,
      status: 204,
    },
    ({ ctx, params }) => cancelSchedule(ctx, params.scheduleId),
  );
}
