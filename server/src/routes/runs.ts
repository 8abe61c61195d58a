import { cancelRun } from "@agent-engine/core/runs/cancel-run.ts";
import { forkRun } from "@agent-engine/core/runs/fork-run.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { listRuns } from "@agent-engine/core/runs/list-runs.ts";
import { resumeRun } from "@agent-engine/core/runs/resume-run.ts";
import { startRun } from "@agent-engine/core/runs/start-run.ts";
import { forkRequest, resumeRequest, runRequest } from "@agent-engine/protocol/schemas/requests.ts";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { eventPageSchema, pageSchema, runSchema, submissionSchema } from "../openapi/schemas.ts";
import { openEventStream, type EventSource } from "../realtime/event-stream.ts";
import { cursorOf, eventsQuery, readEventPage, streamQuery } from "./event-page.ts";

const tag = "Runs";

export function runRoutes(api: Api, events: EventSource): void {
  api.route(
    {
      method: "post",
      path: "/v1/runs",
      tag,
      summary: "Start a run",
      description: "In a conversation of its own, or as the next message of an existing one.",
      access: { scope: "runs:write", visitor: false },
      rate: "message",
      body: runRequest,
      status: 202,
      answer: submissionSchema,
    },
    ({ ctx, body }) => startRun(ctx, body),
  );

  api.route(
    {
      method: "get",
      path: "/v1/runs",
      tag,
      summary: "List runs, newest first",
      access: { scope: "runs:read", visitor: false },
      query: pageQuery,
      status: 200,
      answer: pageSchema(runSchema),
    },
    ({ ctx, query }) => listRuns(ctx, pageRequest(query)),
  );

  api.route(
    {
      method: "get",
      path: "/v1/runs/{runId}",
      tag,
      summary: "Read a run",
      access: { scope: "runs:read", visitor: true },
      status: 200,
      answer: runSchema,
    },
    ({ ctx, params }) => getRun(ctx, params.runId),
  );

  api.route(
    {
      method: "post",
      path: "/v1/runs/{runId}/cancel",
      tag,
      summary: "Cancel a run",
      description: "Answers the run, also when it had already ended.",
      access: { scope: "runs:write", visitor: true },
      status: 200,
      answer: runSchema,
    },
    ({ ctx, params }) => cancelRun(ctx, params.runId),
  );

  api.route(
    {
      method: "post",
      path: "/v1/runs/{runId}/resume",
      tag,
      summary: "Decide an interrupt, so that a waiting run goes on",
      description:
        "`approval`: approve or decline · `connection`: decline · `client_tool`: result or error · `operator`: retry, done or abort. A visitor decides only what is addressed to them. Of several interrupts each is decided by itself; with the last one the run goes on. A question that a run left open when it ended is decided here too, with done or abort. 409 `interrupt_resolved` names the decision that was faster.",
      access: { scope: "runs:write", visitor: true },
      body: resumeRequest,
      status: 200,
      answer: runSchema,
    },
    ({ ctx, params, body }) => resumeRun(ctx, { ...body, payload: body.payload, runId: params.runId }),
  );

  api.route(
    {
      method: "post",
      path: "/v1/runs/{runId}/fork",
      tag,
      summary: "Run it again from one of its events, with changes",
      description:
        "In a new conversation that begins with a copy of the old one up to `atSeq`, by default where the run began. Calls that the original made are answered with its recorded results; any other call that changes something waits for an approval, unless `allowSideEffects` is true.",
      access: { scope: "runs:write", visitor: false },
      rate: "message",
      body: forkRequest,
      status: 202,
      answer: submissionSchema,
    },
    ({ ctx, params, body }) => forkRun(ctx, { ...body, runId: params.runId }),
  );

  api.route(
    {
      method: "get",
      path: "/v1/runs/{runId}/events",
      tag,
      summary: "Read a run's events, ascending",
      description: "`seq` rises but has gaps: other events of the conversation lie between.",
      access: { scope: "runs:read", visitor: true },
      query: eventsQuery,
      status: 200,
      answer: eventPageSchema,
    },
    async ({ ctx, params, query }) => {
      const run = await getRun(ctx, params.runId);
      return readEventPage(ctx, { conversationId: run.conversationId, runId: run.id }, query);
    },
  );

  api.stream(
    {
      method: "get",
      path: "/v1/runs/{runId}/stream",
      tag,
      summary: "Follow a run's events until it has ended",
      access: { scope: "runs:read", visitor: true },
      query: streamQuery,
    },
    async ({ ctx, c, params, query, principal }) => {
      const after = cursorOf(c.req.header("last-event-id"), query);
      const run = await getRun(ctx, params.runId);
      return openEventStream(c, events, principal, {
        conversationId: run.conversationId,
        runId: run.id,
        runEnded: run.finishedAt !== null,
        after,
      });
    },
  );
}
