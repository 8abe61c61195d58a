import type { Migration } from "@mikro-orm/migrations";
import { SpineMigration } from "./migration-20261122-spine.ts";
import { DecisionsMigration } from "./migration-20261123-decisions.ts";
import { PoisonRunsMigration } from "./migration-20261123-poison-runs.ts";
import { MembersMigration } from "./migration-20261123-members.ts";
import { FairQueuesMigration } from "./migration-20261123-fair-queues.ts";
import { ForksMigration } from "./migration-20261123-forks.ts";
import { AuditMigration } from "./migration-20261123-audit.ts";
import { SecretsMigration } from "./migration-20261123-secrets.ts";
import { UnrungDoorbellsMigration } from "./migration-20261123-unrung-doorbells.ts";
import { VisitorsMigration } from "./migration-20261123-visitors.ts";
import { ErasureMigration } from "./migration-20261123-erasure.ts";
import { RateLimitsMigration } from "./migration-20261123-rate-limits.ts";
import { BudgetsMigration } from "./migration-20261123-budgets.ts";
import { EventPagesMigration } from "./migration-20261123-event-pages.ts";
import { ChallengesMigration } from "./migration-20261123-challenges.ts";
import { ToolkitsMigration } from "./migration-20261124-toolkits.ts";
import { OperatorsMigration } from "./migration-20261124-operators.ts";
import { SchedulesMigration } from "./migration-20261124-schedules.ts";
import { AccountChangesMigration } from "./migration-20261124-account-changes.ts";
import { InterruptsMigration } from "./migration-20261124-interrupts.ts";
import { WebhookReceiptsMigration } from "./migration-20261124-webhook-receipts.ts";
import { RealtimeTokensMigration } from "./migration-20261124-realtime-tokens.ts";
import { ForgottenVisitorsMigration } from "./migration-20261124-forgotten-visitors.ts";
import { IdempotencyClaimsMigration } from "./migration-20261125-idempotency-claims.ts";
import { PageToolsMigration } from "./migration-20261125-page-tools.ts";
import { ToolkitHealthMigration } from "./migration-20261125-toolkit-health.ts";
import { MIGRATION_NAMES } from "./names.ts";

type MigrationClass = new (...args: ConstructorParameters<typeof Migration>) => Migration;

const classes: Record<(typeof MIGRATION_NAMES)[number], MigrationClass> = {
  "20261122-spine": SpineMigration,
  "20261123-decisions": DecisionsMigration,
  "20261123-poison-runs": PoisonRunsMigration,
  "20261123-members": MembersMigration,
  "20261123-fair-queues": FairQueuesMigration,
  "20261123-forks": ForksMigration,
  "20261123-audit": AuditMigration,
  "20261123-secrets": SecretsMigration,
  "20261123-unrung-doorbells": UnrungDoorbellsMigration,
  "20261123-visitors": VisitorsMigration,
  "20261123-erasure": ErasureMigration,
  "20261123-rate-limits": RateLimitsMigration,
  "20261123-budgets": BudgetsMigration,
  "20261123-event-pages": EventPagesMigration,
  "20261123-challenges": ChallengesMigration,
  "20261124-toolkits": ToolkitsMigration,
  "20261124-schedules": SchedulesMigration,
  "20261124-operators": OperatorsMigration,
  "20261124-account-changes": AccountChangesMigration,
  "20261124-interrupts": InterruptsMigration,
  "20261124-webhook-receipts": WebhookReceiptsMigration,
  "20261124-realtime-tokens": RealtimeTokensMigration,
  "20261124-forgotten-visitors": ForgottenVisitorsMigration,
  "20261125-toolkit-health": ToolkitHealthMigration,
  "20261125-page-tools": PageToolsMigration,
  "20261125-idempotency-claims": IdempotencyClaimsMigration,
};

/** What the migrator runs, oldest first. */
export const migrations = MIGRATION_NAMES.map((name) => ({ name, class: classes[name] }));
