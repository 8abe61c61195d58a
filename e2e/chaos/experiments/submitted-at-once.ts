/**
 * 11: fifty parallel submits with one clientMessageId, one Idempotency-Key, or both, spread over the servers. One run;
 * every answer is that run's or says that the first one is still under way; what follows is replayed, and another body
 * under the same key is refused.
 */
import type { Submission } from "@agent-engine/protocol/resources.ts";
import { apiAt, ApiError } from "../../src/api-client.ts";
import type { Experiment, Trial } from "../experiment.ts";
import type { World } from "../world.ts";

const SUBMITTED = "50 submits at once";
const SUBMITS = 50;
const IN_FLIGHT = "idempotency_in_flight";

export const submittedAtOnce: Experiment = {
  id: "11",
  title: "50 parallel submits with one key",
  target: "1 run; 409, replay, 422 correct",
  rounds: { quick: 4, full: 1_000 },
  faults: [SUBMITTED],
  disturbs: "nobody",
  async run(world, trial) {
    for (let round = 0; round < trial.rounds; round++) await submit(world, trial);
  },
};

async function submit(world: World, trial: Trial): Promise<void> {
  const talk = await trial.talk();
  const { conversationId, visitor } = talk;
  const keyed = trial.random.pick(["clientMessageId", "Idempotency-Key", "both"] as const);
  const key = `key-${conversationId}`;
  const path = `/v1/conversations/${conversationId}/messages`;
  const headers: Record<string, string> = keyed === "clientMessageId" ? {} : { "idempotency-key": key };
  const body = { clientMessageId: key, text: "Once" };
  const post = (index: number, changes: Partial<typeof body> = {}) => {
    const { url } = world.servers[index % world.servers.length] ?? {};
    return apiAt(url ?? "", visitor.token).request<Submission>("POST", path, { ...body, ...changes }, headers);
  };
  await trial.operation(`submits with one ${keyed}`, async () => {
    const answers = await Promise.allSettled(Array.from({ length: SUBMITS }, (_, index) => post(index)));
    const taken = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
    const refused = answers.flatMap((answer) => (answer.status === "rejected" ? [codeOf(answer.reason)] : []));
    if (taken.length + refused.length === SUBMITS && taken.length > 0) trial.fired(SUBMITTED);
    trial.must(
      refused.every((code) => code === IN_FLIGHT && keyed !== "clientMessageId"),
      `submits with one ${keyed} were refused with ${[...new Set(refused)].join(", ")}`,
    );
    const [first] = taken;
    if (!first) throw new Error("nothing was taken");
    talk.acknowledged.push({
      conversationId,
      clientMessageId: key,
      messageId: first.message.id,
      runId: first.run.id,
    });
    const again = await post(1);
    for (const { message, run } of [...taken, again]) {
      trial.must(
        message.id === first.message.id && run.id === first.run.id,
        `one ${keyed} was answered with ${run.id} and ${first.run.id}`,
      );
    }
    const other = await post(0, { text: "Something else" }).then(
      () => "taken",
      (error: unknown) => codeOf(error),
    );
    trial.must(other === "idempotency_mismatch", `another text under the same ${keyed} was answered with ${other}`);
    await talk.completed(first.run.id);
    const { rows } = await world.db.query<{ runs: number; messages: number }>(
      `select (select count(*) from runs where conversation_id = $1)::int as runs,
              (select count(*) from messages where conversation_id = $1 and role = 'user')::int as messages`,
      [conversationId.slice(5)],
    );
    const found = JSON.stringify(rows[0]);
    trial.must(found === JSON.stringify({ runs: 1, messages: 1 }), `one ${keyed} made ${found}`);
  });
  await trial.check([talk]);
}

const codeOf = (error: unknown): string => (error instanceof ApiError ? error.problem.code : String(error));
