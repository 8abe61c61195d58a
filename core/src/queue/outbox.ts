import type { Database } from "../db/database.ts";
import { statement } from "../db/statement.ts";
import { uuidOf } from "../ids.ts";
import type { Doorbell } from "./run-queue.ts";

/** Where doorbells go that the broker did not take: back among the pending, for the next worker's dispatcher. */
export interface Outbox {
  putBack(doorbell: Doorbell): Promise<void>;
  /** All that were handed to the broker and not answered: it may have lost them. Rung twice, one counts. */
  putBackAll(): Promise<void>;
}

const putBackOne = statement("put_back_job", "select put_back_job($1, $2)");
const putBackAll = statement("put_back_jobs", "select put_back_jobs()");

export function createOutbox(db: Pick<Database, "query">): Outbox {
  return {
    async putBack({ runId, handOver }) {
      await db.query(putBackOne, [uuidOf(runId), handOver]);
    },
    async putBackAll() {
      await db.query(putBackAll, []);
    },
  };
}
