import { SpineMigration } from "./migration-20261122-spine.ts";

/** Every migration, oldest first. The name is what the database remembers: never rename or reorder. */
export const migrations = [{ name: "20261122-spine", class: SpineMigration }];
