import { expect, it } from "vitest";
import { createNewsReader } from "./news.ts";
import { answered, answering, asked, clientState, finished, RUN, started } from "./panel-state.fixture.ts";

const history = [...asked("Hello"), started, ...answering("Hi")];

it("calls nothing news that the history held, but what ends afterwards", () => {
  const read = createNewsReader();
  expect(read(clientState(history, { isLoaded: false }))).toEqual({ messages: [], runs: [] });
  expect(read(clientState(history))).toEqual({ messages: [], runs: [] });
  const { messages, runs } = read(clientState([...history, answered, finished({ type: "success" })]));
  expect(messages.map(({ text }) => text)).toEqual(["Hi"]);
  expect(runs).toEqual([{ id: RUN, status: "completed" }]);
});

it("tells each item once", () => {
  const read = createNewsReader();
  read(clientState([]));
  const whole = clientState([...history, answered]);
  expect(read(whole).messages).toHaveLength(2);
  expect(read(whole)).toEqual({ messages: [], runs: [] });
});
