/* worker.js - runs the command for the page: {id, args, files} comes in, {id, code, out, err, files, ms} goes out.
 * The text of bin/gka.js, which defines gkaModule, stands before it. */
"use strict";
let lines = [], complaints = [];
const started = gkaModule({
  print: line => lines.push(line),
  printErr: line => complaints.push(line),
});

function run(gka, args) {
  const texts = ["gka", ...args].map(text => gka.allocateUTF8(text));
  const argv = gka._malloc(4 * texts.length);
  texts.forEach((text, i) => { gka.HEAPU32[argv / 4 + i] = text; });
  const code = gka._gka_browser_command(texts.length, argv);
  [argv, ...texts].forEach(gka._free);
  return code;
}

onmessage = async event => {
  const { id, args, files } = event.data, gka = await started, start = performance.now();
  lines = [];
  complaints = [];
  const code = run(gka, args), read = {};
  for (const path of files) {
    if (!gka.FS.analyzePath(path).exists) continue;
    read[path] = gka.FS.readFile(path, { encoding: "utf8" });
    gka.FS.unlink(path);
  }
  postMessage({ id, code, out: lines.join("\n"), err: complaints.join("\n"), files: read, ms: performance.now() - start });
};
