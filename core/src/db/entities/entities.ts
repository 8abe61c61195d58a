/**
 * The entities of the verbs that create, read and change configuration. What a message touches on its way (runs,
 * events, heads, jobs) is written by prepared statements instead; `schema.integration.test.ts` holds both against the
 * tables. Tables are made by `migrations/`, never from here.
 */
import { defineEntity, p } from "@mikro-orm/core";
import type { SiteChallenge } from "@agent-engine/protocol/administration.ts";
import type { AgentConfig } from "@agent-engine/protocol/resources.ts";
import { IdType } from "./id-type.ts";

const tenantId = () => p.type(new IdType("tenant"));
const createdAt = () => p.datetime(3).onCreate(() => new Date());

const TenantSchema = defineEntity({
  name: "Tenant",
  tableName: "tenants",
  properties: {
    id: p.type(new IdType("tenant")).primary(),
    name: p.text(),
    createdAt: createdAt(),
    /** Runs it may have running at once; null: what the workers' configuration says. */
    maxRunning: p.integer().nullable(),
    retentionDays: p.integer().nullable(),
    retentionCursor: p.uuid().nullable(),
    retentionSweptAt: p.datetime(3).nullable(),
    /** In place of everybody's limits, by name: an operator's to give. */
    rateLimits: p.json<Record<string, number>>().nullable(),
  },
});
export class Tenant extends TenantSchema.class {}
TenantSchema.setClass(Tenant);

const ApiKeySchema = defineEntity({
  name: "ApiKey",
  tableName: "api_keys",
  properties: {
    id: p.type(new IdType("key")).primary(),
    tenantId: tenantId(),
    name: p.text(),
    hash: p.blob(),
    prefix: p.text(),
    scopes: p.array(),
    expiresAt: p.datetime(3).nullable(),
    revokedAt: p.datetime(3).nullable(),
    lastUsedAt: p.datetime(3).nullable(),
    previousHash: p.blob().nullable(),
    previousUntil: p.datetime(3).nullable(),
    createdAt: createdAt(),
  },
});
export class ApiKey extends ApiKeySchema.class {}
ApiKeySchema.setClass(ApiKey);

const AgentSchema = defineEntity({
  name: "Agent",
  tableName: "agents",
  properties: {
    id: p.type(new IdType("agent")).primary(),
    tenantId: tenantId(),
    name: p.text(),
    draft: p.json<AgentConfig>(),
    publishedVersion: p.integer().nullable(),
    createdAt: createdAt(),
    updatedAt: p
      .datetime(3)
      .onCreate(() => new Date())
      .onUpdate(() => new Date()),
  },
});
export class AgentEntity extends AgentSchema.class {}
AgentSchema.setClass(AgentEntity);

const AgentVersionSchema = defineEntity({
  name: "AgentVersion",
  tableName: "agent_versions",
  properties: {
    agentId: p.type(new IdType("agent")).primary(),
    version: p.integer().primary(),
    tenantId: tenantId(),
    config: p.json<AgentConfig>(),
    publishedAt: createdAt(),
  },
  primaryKeys: ["agentId", "version"],
});
export class AgentVersionEntity extends AgentVersionSchema.class {}
AgentVersionSchema.setClass(AgentVersionEntity);

const SiteSchema = defineEntity({
  name: "Site",
  tableName: "sites",
  properties: {
    id: p.type(new IdType("site")).primary(),
    tenantId: tenantId(),
    agentId: p.type(new IdType("agent")),
    name: p.text(),
    publishableKey: p.text(),
    allowedOrigins: p.array(),
    theme: p.json<Record<string, string>>(),
    challenge: p.json<SiteChallenge>().nullable(),
    previousPublishableKey: p.text().nullable(),
    previousKeyUntil: p.datetime(3).nullable(),
    deletedAt: p.datetime(3).nullable(),
    createdAt: createdAt(),
  },
});
export class SiteEntity extends SiteSchema.class {}
SiteSchema.setClass(SiteEntity);

const VisitorSchema = defineEntity({
  name: "Visitor",
  tableName: "visitors",
  properties: {
    id: p.type(new IdType("visitor")).primary(),
    tenantId: tenantId(),
    siteId: p.type(new IdType("site")).nullable(),
    externalId: p.text().nullable(),
    name: p.text().nullable(),
    email: p.text().nullable(),
    traits: p.json<Record<string, unknown>>(),
    identifiedAt: p.datetime(3).nullable(),
    sessionsValidAfter: p.datetime(3).nullable(),
    mergedInto: p.type(new IdType("visitor")).nullable(),
    erasedAt: p.datetime(3).nullable(),
    erasureFinishedAt: p.datetime(3).nullable(),
    seenAt: p.datetime(3),
    createdAt: createdAt(),
  },
});
export class VisitorEntity extends VisitorSchema.class {}
VisitorSchema.setClass(VisitorEntity);

const ConversationSchema = defineEntity({
  name: "Conversation",
  tableName: "conversations",
  properties: {
    id: p.type(new IdType("conv")).primary(),
    tenantId: tenantId(),
    agentId: p.type(new IdType("agent")),
    siteId: p.type(new IdType("site")).nullable(),
    visitorId: p.type(new IdType("visitor")).nullable(),
    mode: p.string().$type<"agent" | "operator">(),
    forkedFrom: p.type(new IdType("conv")).nullable(),
    forkedFromRun: p.type(new IdType("run")).nullable(),
    forkedFromSeq: p.bigint().nullable(),
    operator: p.text().nullable(),
    createdAt: createdAt(),
  },
});
export class ConversationEntity extends ConversationSchema.class {}
ConversationSchema.setClass(ConversationEntity);

const DocumentSchema = defineEntity({
  name: "Document",
  tableName: "documents",
  properties: {
    id: p.type(new IdType("doc")).primary(),
    tenantId: tenantId(),
    title: p.text(),
    url: p.text().nullable(),
    text: p.text(),
    status: p.string().$type<"queued" | "processing" | "ready" | "failed">(),
    error: p.text().nullable(),
    createdAt: createdAt(),
  },
});
export class DocumentEntity extends DocumentSchema.class {}
DocumentSchema.setClass(DocumentEntity);

export const entities = [
  Tenant,
  ApiKey,
  AgentEntity,
  AgentVersionEntity,
  SiteEntity,
  VisitorEntity,
  ConversationEntity,
  DocumentEntity,
];
