// Prints the answers of the reader under node, as JSON: node answers.mjs FOLDER ARCHIVE PICTURES...
// FOLDER has Pyodide's files, with its lock file, and node_modules.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const bytes = (path) => new Uint8Array(readFileSync(path));
const [folder, archive, ...pictures] = process.argv.slice(2);
globalThis.require = createRequire(`${folder}/`);
const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`));
const { packages } = JSON.parse(readFileSync(`${folder}/pyodide-lock.json`));
const python = await loadPyodide({ indexURL: folder, packages: Object.keys(packages), stdout() {} });
python.unpackArchive(bytes(archive), "zip");
const { answer } = python.pyimport("lenet_digits.demo.browser");
const answers = pictures.map((path) => JSON.parse(answer("read", python.toPy(bytes(path)))));
process.stdout.write(JSON.stringify(answers), () => process.exit());
