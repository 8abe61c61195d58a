import { expect, test } from "vitest";
import { countsOf, sum } from "./vitest-counts.ts";

const report = { numPassedTests: 5, numFailedTests: 0, numPendingTests: 1, numTodoTests: 1, testResults: [] };

test("a green run counts its tests, and a todo as skipped", () => {
  expect(countsOf(report, 0)).toEqual({ passed: 5, failed: 0, skipped: 2 });
});

test("a file that could not be loaded counts as one failure", () => {
  const testResults = [
    { status: "failed", assertionResults: [] },
    { status: "passed", assertionResults: [{}] },
  ];
  expect(countsOf({ ...report, testResults }, 1).failed).toBe(1);
});

test("a failing exit code without a failed test is a failure", () => {
  expect(countsOf(report, 1).failed).toBe(1);
  expect(countsOf(report, null).failed).toBe(1);
});

test("a run without a report is a failure", () => {
  expect(countsOf(null, 0).failed).toBe(1);
});

test("counts add up", () => {
  expect(sum([countsOf(report, 0), countsOf(report, 1)])).toEqual({ passed: 10, failed: 1, skipped: 4 });
});
