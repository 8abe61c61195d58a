import { createBudget } from "@agent-engine/core/budgets/create-budget.ts";
import { deleteBudget } from "@agent-engine/core/budgets/delete-budget.ts";
import { getBudget } from "@agent-engine/core/budgets/get-budget.ts";
import { listBudgets } from "@agent-engine/core/budgets/list-budgets.ts";
import { updateBudget } from "@agent-engine/core/budgets/update-budget.ts";
import { deleteModelPrice, listModelPrices, setModelPrice } from "@agent-engine/core/models/model-prices.ts";
import { budgetRequest, budgetUpdateRequest, modelPriceRequest } from "@agent-engine/protocol/schemas/budgets.ts";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { budgetSchema, modelPriceSchema } from "../openapi/budget-schemas.ts";
import { pageSchema } from "../openapi/schemas.ts";

const tag = "Budgets";
const read = { scope: "budgets:read", visitor: false } as const;
const write = { scope: "budgets:write", visitor: false } as const;

export function budgetRoutes(api: Api): void {
  api.route(
    {
      method: "post",
      path: "/v1/budgets",
      tag,
      summary: "Make a budget",
      description:
        "For the tenant, an agent or a visitor, or for each agent or visitor by itself, in a day or month (UTC). It counts what was used in its period before it was made. Near its end runs are warned about, then answered by `fallbackModel`, then without tools; at its end they end with a polite sentence and `finishReason` `limit`. Money is counted for models that have a price.",
      access: write,
      body: budgetRequest,
      status: 201,
      answer: budgetSchema,
    },
    ({ ctx, body }) => createBudget(ctx, body),
  );

  api.route(
    {
      method: "get",
      path: "/v1/budgets",
      tag,
      summary: "List budgets, newest first",
      access: read,
      query: pageQuery,
      status: 200,
      answer: pageSchema(budgetSchema),
    },
    ({ ctx, query }) => listBudgets(ctx, pageRequest(query)),
  );

  api.route(
    {
      method: "get",
      path: "/v1/budgets/{budgetId}",
      tag,
      summary: "Read a budget",
      access: read,
      status: 200,
      answer: budgetSchema,
    },
    ({ ctx, params }) => getBudget(ctx, params.budgetId),
  );

  api.route(
    {
      method: "patch",
      path: "/v1/budgets/{budgetId}",
      tag,
      summary: "Change a budget",
      description: "Replaces the fields it names, from the next model call on. Whose it is and its period stay.",
      access: write,
      body: budgetUpdateRequest,
      status: 200,
      answer: budgetSchema,
    },
    ({ ctx, params, body }) => updateBudget(ctx, { ...body, budgetId: params.budgetId }),
  );

  api.route(
    {
      method: "delete",
      path: "/v1/budgets/{budgetId}",
      tag,
      summary: "Delete a budget",
      access: write,
      status: 204,
    },
    ({ ctx, params }) => deleteBudget(ctx, params.budgetId),
  );

  api.route(
    {
      method: "post",
      path: "/v1/model-prices",
      tag,
      summary: "Set what a model costs you",
      description:
        "In place of the vendor's list price, or for a model of your own that has none. Again for the same model: replaces it.",
      access: write,
      body: modelPriceRequest,
      status: 201,
      answer: modelPriceSchema,
    },
    ({ ctx, body }) => setModelPrice(ctx, body),
  );

  api.route(
    {
      method: "get",
      path: "/v1/model-prices",
      tag,
      summary: "List your own prices, newest first",
      access: read,
      query: pageQuery,
      status: 200,
      answer: pageSchema(modelPriceSchema),
    },
    ({ ctx, query }) => listModelPrices(ctx, pageRequest(query)),
  );

  api.route(
    {
      method: "delete",
      path: "/v1/model-prices/{priceId}",
      tag,
      summary: "Delete your price of a model",
      description: "The vendor's list price counts again, where there is one.",
      access: write,
      status: 204,
    },
    ({ ctx, params }) => deleteModelPrice(ctx, params.priceId),
  );
}
