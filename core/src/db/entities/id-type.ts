import { Type } from "@mikro-orm/core";
import type { Id } from "@agent-engine/protocol/ids.ts";
import { idOf, uuidOf } from "../../ids.ts";

/** Keeps an id in its API form in code and as a uuid in the database. */
export class IdType<Prefix extends string> extends Type<Id<Prefix>, string> {
  // Not a # field: the ORM copies types with Object.create, and copies have no private fields.
  private readonly prefix: Prefix;

  constructor(prefix: Prefix) {
    super();
    this.prefix = prefix;
  }

  override convertToDatabaseValue(value: Id<Prefix>): string {
    return typeof value === "string" && value.includes("_") ? uuidOf(value) : value;
  }

  override convertToJSValue(value: string): Id<Prefix> {
    return typeof value === "string" && !value.includes("_") ? idOf(this.prefix, value) : (value as Id<Prefix>);
  }

  override getColumnType(): string {
    return "uuid";
  }

  override compareAsType(): string {
    return "string";
  }
}
