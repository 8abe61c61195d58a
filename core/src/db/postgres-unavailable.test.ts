import { expect, test } from "vitest";
import { ProblemError } from "../errors.ts";
import { isPostgresUnavailable } from "./postgres-unavailable.ts";

const refusedBy = (cause: unknown) => new Error("it did not work", { cause });
const refused = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });

test("Postgres is away when the way to it says so, however deep", () => {
  expect(isPostgresUnavailable(refused)).toBe(true);
  expect(isPostgresUnavailable(refusedBy(refusedBy(refused)))).toBe(true);
  expect(isPostgresUnavailable(new AggregateError([refused]))).toBe(true);
  expect(isPostgresUnavailable(new Error("syntax error"))).toBe(false);
});

test("another service that is away says nothing of Postgres", () => {
  const said = new ProblemError("invalid_request", "The document cannot be fetched.", { cause: refused });
  expect(isPostgresUnavailable(said)).toBe(false);
  expect(isPostgresUnavailable(refusedBy(said))).toBe(false);
});
