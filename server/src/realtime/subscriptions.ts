import { z } from "zod";
import type { Ctx } from "@agent-engine/core/context.ts";
import { getConversation } from "@agent-engine/core/conversations/get-conversation.ts";
import { ProblemError } from "@agent-engine/core/errors.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { validate } from "../http/validation.ts";
import { audienceOf } from "./audience.ts";
import type { Hub } from "./hub.ts";
import type { Reader } from "./reader.ts";
import { SubscriptionSink, type SocketOutlet } from "./socket-outlet.ts";

/** What one socket may follow at once. */
const MAX_SUBSCRIPTIONS = 100;

const target = { conversationId: z.string().optional(), runId: z.string().optional() };
const oneTarget = ({ conversationId, runId }: { conversationId?: string; runId?: string }) =>
  (conversationId === undefined) !== (runId === undefined);
const subscribeRequest = z
  .object({ ...target, after: z.int().min(0).default(0) })
  .refine(oneTarget, "must name either `conversationId` or `runId`");
const unsubscribeRequest = z.object(target).refine(oneTarget, "must name either `conversationId` or `runId`");

interface Subscription {
  /** Known once the request was checked. */
  conversationId: string | null;
  reader: Reader | null;
  isCancelled: boolean;
}

export interface Subscribed {
  lastSeq: number;
  conversationId: string;
  /** To be called once the client has been told: lets the events follow. */
  release: () => void;
}

/** What one socket follows. A second subscription to the same thing replaces the first, with its new cursor. */
export class Subscriptions {
  readonly #ctx: Ctx;
  readonly #hub: Hub;
  readonly #outlet: SocketOutlet;
  readonly #onLeft: (conversationId: string) => void;
  readonly #byTarget = new Map<string, Subscription>();

  constructor(ctx: Ctx, hub: Hub, outlet: SocketOutlet, onLeft: (conversationId: string) => void) {
    this.#ctx = ctx;
    this.#hub = hub;
    this.#outlet = outlet;
    this.#onLeft = onLeft;
  }

  /** Throws a problem when the request is malformed, or what it names is not the reader's to see. */
  async subscribe(request: unknown): Promise<Subscribed> {
    const { conversationId, runId, after } = validate(subscribeRequest, request, "request");
    const key = runId ?? conversationId ?? "";
    this.#cancel(key);
    if (this.#byTarget.size >= MAX_SUBSCRIPTIONS) {
      throw new ProblemError(
        "invalid_request",
        `A socket follows at most ${MAX_SUBSCRIPTIONS} conversations. Unsubscribe from one.`,
      );
    }
    const subscription: Subscription = { conversationId: null, reader: null, isCancelled: false };
    this.#byTarget.set(key, subscription);
    try {
      const run = runId === undefined ? null : await getRun(this.#ctx, runId);
      const conversation = await getConversation(this.#ctx, run?.conversationId ?? conversationId ?? "");
      const sink = new SubscriptionSink(this.#outlet, () => this.#forget(key, subscription));
      const reader = await this.#hub.open(
        {
          tenantId: this.#ctx.tenantId,
          conversationId: conversation.id,
          audience: audienceOf(this.#ctx.actor),
          runId: run?.id ?? null,
          runEnded: run !== null && run.finishedAt !== null,
          after,
        },
        sink,
      );
      if (subscription.isCancelled) {
        reader.close();
        throw new ProblemError("conflict", "This subscription was replaced or ended before it began.");
      }
      subscription.reader = reader;
      subscription.conversationId = conversation.id;
      return { lastSeq: conversation.lastSeq, conversationId: conversation.id, release: () => sink.release() };
    } catch (error) {
      this.#forget(key, subscription);
      throw error;
    }
  }

  unsubscribe(request: unknown): void {
    const { conversationId, runId } = validate(unsubscribeRequest, request, "request");
    this.#cancel(runId ?? conversationId ?? "");
  }

  /** True when the socket follows this conversation, or a run in it. */
  follows(conversationId: string): boolean {
    for (const each of this.#byTarget.values()) if (each.conversationId === conversationId) return true;
    return false;
  }

  close(): void {
    for (const key of [...this.#byTarget.keys()]) this.#cancel(key);
  }

  #cancel(key: string): void {
    const subscription = this.#byTarget.get(key);
    if (!subscription) return;
    subscription.isCancelled = true;
    subscription.reader?.close();
    this.#forget(key, subscription);
  }

  #forget(key: string, subscription: Subscription): void {
    if (this.#byTarget.get(key) !== subscription) return;
    this.#byTarget.delete(key);
    const { conversationId } = subscription;
    if (conversationId !== null && !this.follows(conversationId)) this.#onLeft(conversationId);
  }
}
