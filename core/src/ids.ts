import { v7 } from "uuid";
import { isId, type Id } from "@agent-engine/protocol/ids.ts";
import { notFound } from "./errors.ts";

/** A new id: the prefix and a UUIDv7, so that ids sort by the time they were made. */
export function newId<Prefix extends string>(prefix: Prefix): Id<Prefix> {
  return `${prefix}_${v7().replaceAll("-", "")}`;
}

/** The uuid of an API id as Postgres takes it (32 hex digits). The id must be well-formed. */
export function uuidOf(id: string): string {
  return id.slice(id.indexOf("_") + 1);
}

/** The API id of a uuid as Postgres gives it. */
export function idOf<Prefix extends string>(prefix: Prefix, uuid: string): Id<Prefix> {
  return `${prefix}_${uuid.replaceAll("-", "")}`;
}

/** Reads an id that came from outside; anything malformed is answered as missing. */
export function parseId<Prefix extends string>(prefix: Prefix, value: string, kind: string): Id<Prefix> {
  if (!isId(prefix, value)) throw notFound(kind);
  return value;
}
