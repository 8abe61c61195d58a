import { randomUUID } from "node:crypto";
import { toolItem, toolkitDetail, toolkitItem, type FakeTool, type FakeToolkit } from "./catalogue.ts";
import {
  accountFor,
  checkVersion,
  defaultAnswer,
  executeAnswer,
  type ComposioCall,
  type ExecuteBody,
} from "./execute.ts";
import type { Held, Route, RouteCall } from "./route.ts";
import { listOf, pageOf, Refusal } from "./wire.ts";

function toolkitOf(held: Held, slug: string | undefined): FakeToolkit {
  const toolkit = held.toolkits.get(slug?.toLowerCase() ?? "");
  if (toolkit) return toolkit;
  throw new Refusal(404, "Toolkit_ToolkitNotFound", `Toolkit ${slug} not found`, 4301);
}

function toolOf(held: Held, slug: string | undefined): { tool: FakeTool; toolkit: FakeToolkit } {
  for (const toolkit of held.toolkits.values()) {
    const tool = toolkit.tools.find((known) => known.slug === slug);
    if (tool) return { tool, toolkit };
  }
  throw new Refusal(404, "Tool_ToolNotFound", `Tool ${slug} not found`, 2401);
}

function versionOf(query: URLSearchParams, toolkit: FakeToolkit): string {
  return checkVersion(toolkit, query.get("version") ?? query.get(`toolkit_versions[${toolkit.slug}]`));
}

const contains = (text: string, part: string | null) =>
  part === null || text.toLowerCase().includes(part.toLowerCase());

function toolList({ query }: RouteCall, held: Held): { status: number; body: unknown } {
  const toolkits = listOf(query, "toolkit_slug");
  const slugs = listOf(query, "tool_slugs");
  const tags = listOf(query, "tags");
  const search = query.get("query") ?? query.get("search");
  const named = toolkits?.map((slug) => toolkitOf(held, slug)) ?? [...held.toolkits.values()];
  const found = named.flatMap((toolkit) =>
    toolkit.tools
      .filter(
        (tool) =>
          (slugs?.includes(tool.slug) ?? true) &&
          (tags?.some((tag) => tool.tags.includes(tag)) ?? true) &&
          (query.get("important") !== "true" || tool.isImportant === true) &&
          contains(`${tool.slug} ${tool.description}`, search),
      )
      .map((tool) => toolItem(tool, toolkit, versionOf(query, toolkit))),
  );
  return { status: 200, body: pageOf(found, query) };
}

/** The call's place in the ledger is taken when it arrives, so that a call which is cut off is seen too. */
const pending = new WeakMap<RouteCall, { call: ComposioCall; tool: FakeTool; toolkit: FakeToolkit }>();

export const toolRoutes: Route[] = [
  {
    name: "toolkits.list",
    method: "GET",
    path: "/toolkits",
    act({ query }, held) {
      const found = [...held.toolkits.values()].filter(
        ({ slug, name, description, category }) =>
          contains(`${slug} ${name} ${description}`, query.get("search")) &&
          (query.get("category") === null || query.get("category") === category),
      );
      return { status: 200, body: pageOf(found.map(toolkitItem), query) };
    },
  },
  {
    name: "toolkits.get",
    method: "GET",
    path: "/toolkits/*",
    act: ({ params }, held) => ({ status: 200, body: toolkitDetail(toolkitOf(held, params[0])) }),
  },
  { name: "tools.list", method: "GET", path: "/tools", act: toolList },
  {
    name: "tools.get",
    method: "GET",
    path: "/tools/*",
    act({ params, query }, held) {
      const { tool, toolkit } = toolOf(held, params[0]);
      return { status: 200, body: toolItem(tool, toolkit, versionOf(query, toolkit)) };
    },
  },
  {
    name: "tools.execute",
    method: "POST",
    path: "/tools/execute/*",
    before(route, held) {
      const body = (route.body ?? {}) as ExecuteBody;
      const { tool, toolkit } = toolOf(held, route.params[0]);
      const call: ComposioCall = {
        slug: tool.slug,
        toolkit: toolkit.slug,
        arguments: body.arguments ?? {},
        userId: body.user_id ?? null,
        connectedAccountId: body.connected_account_id ?? null,
        version: body.version ?? null,
        outcome: "none",
        fault: route.fault,
        logId: `log_${randomUUID()}`,
        at: new Date().toISOString(),
      };
      held.ledger.push(call);
      pending.set(route, { call, tool, toolkit });
    },
    act(route, held) {
      const found = pending.get(route);
      if (!found) throw new Error("A call that never began.");
      const { call, tool, toolkit } = found;
      const body = (route.body ?? {}) as ExecuteBody;
      checkVersion(toolkit, body.version);
      accountFor(tool, body, held.accounts);
      const required = (tool.parameters.required ?? []) as string[];
      const missing = required.filter((name) => !(name in call.arguments));
      if (missing.length > 0) {
        throw new Refusal(400, "Tool_InvalidArguments", `Following fields are missing: ${missing.join(", ")}`, 2402);
      }
      if (call.fault?.kind !== "unsuccessful") call.outcome = "applied";
      const answer = () => held.answer?.(call) ?? defaultAnswer(call, `${held.address()}/s3/report.pdf`);
      return { status: 200, body: executeAnswer(call, answer) };
    },
  },
];
