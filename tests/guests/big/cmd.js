// A wasi:cli command: counts what comes on stdin.
import { getStdin } from "wasi:cli/stdin@0.2.12";
import { getStdout } from "wasi:cli/stdout@0.2.12";

export const run = {
  run() {
    const input = getStdin();
    let bytes = 0;
    for (;;) {
      let chunk;
      try {
        chunk = input.blockingRead(65536);
      } catch {
        break;
      }
      bytes += chunk.length;
    }
    getStdout().blockingWriteAndFlush(new TextEncoder().encode(`{"bytes":${bytes}}\n`));
  },
};
