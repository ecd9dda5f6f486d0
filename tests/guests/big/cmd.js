// A wasi:cli command: {"numbers":[…]} on stdin answers {"sum":…}. The engine has no TextDecoder; the texts are ASCII.
import { getStdin } from "wasi:cli/stdin@0.2.12";
import { getStdout } from "wasi:cli/stdout@0.2.12";

export const run = {
  run() {
    const input = getStdin();
    let text = "";
    for (;;) {
      let chunk;
      try {
        chunk = input.blockingRead(65536);
      } catch {
        break;
      }
      text += String.fromCharCode(...chunk);
    }
    const sum = JSON.parse(text).numbers.reduce((sum, number) => sum + number, 0);
    getStdout().blockingWriteAndFlush(Uint8Array.from(`{"sum":${sum}}\n`, (char) => char.charCodeAt(0)));
  },
};
