import { describe, expect, test } from "vitest";
import { ProblemError } from "@agent-engine/core/errors.ts";
import { isPostgresUnavailable } from "@agent-engine/core/db/postgres-unavailable.ts";
import { problemResponse, toProblemError } from "./problem.ts";

const coded = (code: string, message = "x") => Object.assign(new Error(message), { code });

describe("Postgres is away", () => {
  test.each([
    [coded("ECONNREFUSED")],
    [coded("ECONNRESET")],
    [coded("08006")],
    [coded("57P01")],
    [coded("57P03")],
    [coded("53300")],
    [new Error("timeout exceeded when trying to connect")],
    [new Error("Connection terminated unexpectedly")],
    [new Error("driver error", { cause: coded("57P01") })],
    [new AggregateError([coded("ECONNREFUSED")], "both addresses")],
  ])("%o", (error) => {
    expect(isPostgresUnavailable(error)).toBe(true);
    expect(toProblemError(error)).toMatchObject({ code: "unavailable", retryAfterSeconds: 2 });
  });

  test.each([[coded("23505")], [coded("42P01")], [new Error("boom")], ["text"], [null]])(
    "is not what %o says",
    (error) => {
      expect(isPostgresUnavailable(error)).toBe(false);
      expect(toProblemError(error).code).toBe("internal");
    },
  );
});

test("an unknown error shows nothing of itself", async () => {
  const response = problemResponse(toProblemError(new Error("password=hunter2 at /srv/app.ts")), "req_1");
  expect(response.status).toBe(500);
  const text = await response.text();
  expect(text).not.toMatch(/hunter2|app\.ts/);
  expect(JSON.parse(text)).toMatchObject({ code: "internal", requestId: "req_1" });
});

test("a problem keeps its members, and cannot overwrite the standard ones", async () => {
  const error = new ProblemError("run_active", "Wait.", {
    extra: { runId: "run_1", status: 200 },
    retryAfterSeconds: 1.2,
  });
  const response = problemResponse(error, "req_1");
  expect(response.headers.get("retry-after")).toBe("2");
  expect(await response.json()).toMatchObject({ runId: "run_1", status: 409, code: "run_active", detail: "Wait." });
});
