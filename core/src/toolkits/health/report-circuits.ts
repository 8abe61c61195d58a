/**
 * Tells the database which of a worker's circuits are open, so that staff see them from every server. A circuit opens,
 * tries and closes a few times an hour at most, so this costs a write now and then and nothing for each call.
 */
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../../context.ts";
import { statement } from "../../db/statement.ts";
import { inTenant } from "../../db/transaction.ts";
import { uuidOf } from "../../ids.ts";

/** A circuit of a tenant's tool host as it is from now on. */
export interface CircuitReport {
  tenantId: TenantId;
  /** The toolkit's name. */
  toolkit: string;
  host: string;
  /** Null: it is closed. Times are ISO 8601 UTC. */
  open: { since: string; retryAt: string; failures: number; code: string } | null;
}

export interface CircuitReports {
  /** Never throws, and nobody waits for it: what cannot be written is tried again. */
  changed(report: CircuitReport): void;
  stop(): void;
}

// A worker whose row is gone has no circuits that anybody should count.
const open = statement(
  "tool_circuit_open",
  `insert into tool_circuits (tenant_id, toolkit, host, worker_id, since, retry_at, failures, code)
   select $1, $2, $3, w.id, $5, $6, $7, $8 from workers w where w.id = $4
   on conflict (tenant_id, toolkit, host, worker_id)
     do update set since = excluded.since, retry_at = excluded.retry_at, failures = excluded.failures, code = excluded.code`,
);
const close = statement(
  "tool_circuit_close",
  "delete from tool_circuits where tenant_id = $1 and toolkit = $2 and host = $3 and worker_id = $4",
);

const RETRY_MS = 1_000;

export function reportCircuits(services: Pick<Services, "db" | "log">, workerUuid: string): CircuitReports {
  /** The latest word on each that is not written yet. */
  const unwritten = new Map<string, CircuitReport>();
  let isWriting = false;
  let isStopped = false;
  let again: NodeJS.Timeout | null = null;

  async function write({ tenantId, toolkit, host, open: opened }: CircuitReport): Promise<void> {
    const key = [uuidOf(tenantId), toolkit, host, workerUuid];
    await inTenant(services.db, tenantId, async (tx) => {
      if (opened === null) await tx.query(close, key);
      else await tx.query(open, [...key, opened.since, opened.retryAt, opened.failures, opened.code]);
    });
  }

  async function writeAll(): Promise<void> {
    if (isWriting) return;
    isWriting = true;
    let next = unwritten.entries().next().value;
    while (next && !isStopped) {
      const [key, report] = next;
      const error = await write(report).then(
        () => null,
        (reason: unknown) => ({ reason }),
      );
      const latest = unwritten.get(key);
      unwritten.delete(key);
      // At the end, so that it keeps no other from being written.
      if (latest && (error || latest !== report)) unwritten.set(key, latest);
      if (error) {
        services.log.warn({ err: error.reason }, "an open circuit is not told yet");
        break;
      }
      next = unwritten.entries().next().value;
    }
    isWriting = false;
    if (unwritten.size === 0 || isStopped) return;
    again ??= setTimeout(() => {
      again = null;
      void writeAll();
    }, RETRY_MS).unref();
  }

  return {
    changed(report) {
      if (isStopped) return;
      unwritten.set(JSON.stringify([report.tenantId, report.toolkit, report.host]), report);
      void writeAll();
    },
    stop() {
      isStopped = true;
      if (again) clearTimeout(again);
    },
  };
}
