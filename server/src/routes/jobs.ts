import { listJobs } from "@agent-engine/core/queue/list-jobs.ts";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { jobSchema, jobStateSchema, pageSchema } from "../openapi/schemas.ts";

export function jobRoutes(api: Api): void {
  api.route(
    {
      method: "get",
      path: "/v1/jobs",
      tag: "Runs",
      summary: "List jobs, those of the newest runs first",
      description:
        "A job hands a run to a worker. `state` picks the backlog (`pending`, and `blocked` behind another run of the same conversation) or the dead letters (`dead`, with the reason). What is done is kept for a week.",
      access: { scope: "runs:read", visitor: false },
      query: pageQuery.extend({ state: jobStateSchema.optional() }),
      status: 200,
      answer: pageSchema(jobSchema),
    },
    ({ ctx, query }) => listJobs(ctx, { ...pageRequest(query), ...(query.state ? { state: query.state } : {}) }),
  );
}
