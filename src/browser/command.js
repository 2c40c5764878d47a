/* command.js - the command gka, compiled to WebAssembly, under node: the same options, files and exit code.
 *
 *   node src/browser/command.js build/browser/bin/gka.js ARGUMENT...
 */
"use strict";
const fs = require("fs");
const path = require("path");

async function main(script, args) {
  const gka = await require(path.resolve(script))({
    print: line => process.stdout.write(line + "\n"),
    printErr: line => process.stderr.write(line + "\n"),
  });
  for (const entry of fs.readdirSync("/", { withFileTypes: true })) {
    if (!entry.isDirectory() || ["dev", "proc", "sys"].includes(entry.name)) continue;
    if (!gka.FS.analyzePath("/" + entry.name).exists) gka.FS.mkdir("/" + entry.name);
    gka.FS.mount(gka.NODEFS, { root: "/" + entry.name }, "/" + entry.name);
  }
  gka.FS.chdir(process.cwd());
  const texts = ["gka", ...args].map(text => gka.allocateUTF8(text));
  const argv = gka._malloc(4 * texts.length);
  texts.forEach((text, i) => { gka.HEAPU32[argv / 4 + i] = text; });
  process.exitCode = gka._gka_browser_command(texts.length, argv);
}

if (process.argv.length < 3) {
  process.stderr.write("command.js: SCRIPT [ARGUMENT...] was expected, SCRIPT made by scripts/browser\n");
  process.exitCode = 2;
} else {
  main(process.argv[2], process.argv.slice(3));
}
