/** Every migration's name, oldest first: what the database remembers. Never rename or reorder. */
export const MIGRATION_NAMES = [
  "20261122-spine",
  "20261123-decisions",
  "20261123-poison-runs",
  "20261123-members",
  "20261123-fair-queues",
  "20261123-forks",
  "20261123-audit",
  "20261123-secrets",
  "20261123-unrung-doorbells",
  "20261123-visitors",
  "20261123-erasure",
  "20261123-rate-limits",
  "20261123-budgets",
  "20261123-event-pages",
  "20261123-challenges",
  "20261124-schedules",
] as const;
