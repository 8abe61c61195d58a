/** Lets at most `size` tasks run at once, first come, first served. */
export function createSlots(size: number): <T>(task: () => Promise<T>) => Promise<T> {
  let free = size;
  const waiting: (() => void)[] = [];
  return async (task) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await task();
    } finally {
      // A slot is handed to the next in line without becoming free, so nobody can slip in between.
      const next = waiting.shift();
      if (next) next();
      else free++;
    }
  };
}
