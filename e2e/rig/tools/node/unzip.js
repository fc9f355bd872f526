// unzip.js ARCHIVE FOLDER: writes the files of a zip archive into FOLDER, each under the last part of its name.
// Of the format it reads what small archives have (deflated or stored, no ZIP64); whoever calls it checks what came out.
"use strict";
const { readFileSync, writeFileSync } = require("node:fs");
const { basename, join } = require("node:path");
const { inflateRawSync } = require("node:zlib");

const [archive, folder] = process.argv.slice(2);
const zip = readFileSync(archive);

const end = zip.lastIndexOf("PK\x05\x06", undefined, "latin1");
if (end < 0) throw new Error(`${archive} is no zip archive`);
let at = zip.readUInt32LE(end + 16); // the directory of the archive, one entry for each file
for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
  const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) => zip.readUInt16LE(at + field));
  const name = zip.toString("utf8", at + 46, at + 46 + nameLength);
  if (!name.endsWith("/")) writeFileSync(join(folder, basename(name)), contents(at));
  at += 46 + nameLength + extraLength + commentLength;
}

function contents(entry) {
  const method = zip.readUInt16LE(entry + 10);
  const file = zip.readUInt32LE(entry + 42); // the header before the data, whose extra field may have another length
  const start = file + 30 + zip.readUInt16LE(file + 26) + zip.readUInt16LE(file + 28);
  const data = zip.subarray(start, start + zip.readUInt32LE(entry + 20));
  if (method === 0) return data;
  if (method === 8) return inflateRawSync(data);
  throw new Error(`${archive} is compressed by method ${method}, which this script does not know`);
}
