import type { ModelPrice } from "@agent-engine/protocol/budgets.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { cursorUuid, pageOf, type PageRequest } from "../db/page.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { notFound } from "../errors.ts";
import { idOf, parseId, uuidOf } from "../ids.ts";

export interface SetModelPrice {
  model: string;
  input: number;
  cachedInput?: number | undefined;
  output: number;
}

interface PriceRow {
  id: string;
  model: string;
  /** Numerics, as text. */
  input: string;
  cached_input: string;
  output: string;
  created_at: Date;
}

const COLUMNS = "id, model, input, cached_input, output, created_at";

const find = statement<PriceRow>(
  "model_price_find",
  `select ${COLUMNS} from model_prices where tenant_id = $1 and model = $2 for no key update`,
);
const set = statement<PriceRow>(
  "model_price_set",
  `insert into model_prices (id, tenant_id, model, input, cached_input, output, created_at) values ($1, $2, $3, $4, $5, $6, $7)
   on conflict (tenant_id, model) do update set input = excluded.input, cached_input = excluded.cached_input, output = excluded.output
   returning ${COLUMNS}`,
);
const list = statement<PriceRow>(
  "model_prices_list",
  `select ${COLUMNS} from model_prices where tenant_id = $1 and id < $2 order by id desc limit $3`,
);
const remove = statement<PriceRow>("model_price_delete", `delete from model_prices where id = $1 returning ${COLUMNS}`);

function toPrice(row: PriceRow): ModelPrice {
  return {
    id: idOf("price", row.id),
    model: row.model,
    input: Number(row.input),
    cachedInput: Number(row.cached_input),
    output: Number(row.output),
    createdAt: row.created_at.toISOString(),
  };
}

/** Sets what a model costs this tenant, from the next model call on; again: replaces it. */
export async function setModelPrice(ctx: Ctx, input: SetModelPrice): Promise<ModelPrice> {
  const { services, tenantId } = ctx;
  return transact(ctx, async (tx) => {
    const [old] = await tx.query(find, [uuidOf(tenantId), input.model]);
    const [row] = await tx.query(set, [
      uuidOf(services.newId("price")),
      uuidOf(tenantId),
      input.model,
      input.input,
      input.cachedInput ?? input.input,
      input.output,
      new Date(services.clock()),
    ]);
    if (!row) throw new Error("the price was not stored");
    const price = toPrice(row);
    await audit(ctx, tx, {
      action: "model_price.set",
      target: { kind: "model_price", id: price.id },
      before: old ? { ...toPrice(old) } : null,
      after: { ...price },
    });
    tx.afterCommit(() => services.bus.control.publish({ kind: "spending.changed", tenantId }));
    return price;
  });
}

/** The tenant's own prices, newest first. */
export async function listModelPrices(ctx: Ctx, page: PageRequest): Promise<Page<ModelPrice>> {
  const values = [uuidOf(ctx.tenantId), cursorUuid("price", page.cursor), page.limit + 1];
  const rows = await transact(ctx, (tx) => tx.query(list, values));
  return pageOf(rows, page, toPrice);
}

/** The vendor's list price counts again, where there is one. */
export async function deleteModelPrice(ctx: Ctx, priceId: string): Promise<void> {
  const id = parseId("price", priceId, "price");
  const { services, tenantId } = ctx;
  await transact(ctx, async (tx) => {
    const [row] = await tx.query(remove, [uuidOf(id)]);
    if (!row) throw notFound("price");
    const target = { kind: "model_price", id };
    await audit(ctx, tx, { action: "model_price.deleted", target, before: { ...toPrice(row) } });
    tx.afterCommit(() => services.bus.control.publish({ kind: "spending.changed", tenantId }));
  });
}
