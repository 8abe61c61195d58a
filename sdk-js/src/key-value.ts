/** Where a client keeps what must survive a reload: localStorage in a browser, memory elsewhere. Never throws. */
export interface KeyValue {
  get(key: string): string | null;
  /** null removes the key. */
  set(key: string, value: string | null): void;
}

export function memoryKeyValue(): KeyValue {
  const values = new Map<string, string>();
  return {
    get: (key) => values.get(key) ?? null,
    set: (key, value) => {
      if (value === null) values.delete(key);
      else values.set(key, value);
    },
  };
}
