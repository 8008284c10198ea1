/** The languages of the editor, each with a sample text; a mark in it is the position of the cursor. */
import { javascriptLanguage, typescriptLanguage } from '@codemirror/lang-javascript';
import { pythonLanguage } from '@codemirror/lang-python';
import { defineLanguageFacet, Language as EditorLanguage } from '@codemirror/language';
import type { Extension } from '@codemirror/state';
import { GFM, parser } from '@lezer/markdown';

export const LANGUAGES = ['javascript', 'typescript', 'python', 'markdown'] as const;

export type Language = (typeof LANGUAGES)[number];

/** The mark of the cursor in a sample, which contains it only once. */
const CURSOR = '█';

interface LanguageEntry {
  name: string;
  extension: () => Extension;
  sample: string;
}

const ENTRIES: Readonly<Record<Language, LanguageEntry>> = {
  typescript: {
    name: 'TypeScript',
    extension: () => typescriptLanguage,
    sample: `import { readFile } from 'node:fs/promises';

export interface Options {
  encoding?: string;
  maxBytes?: number;
}

/** Reads the lines of a file. */
export async function readLines(path: string, options: Options = {}): Promise<string[]> {
  const text = await readFile(path, 'utf8');
  const lines = text.█;
  return lines.filter((line) => line.length > 0);
}

export function isString(value: unknown): value is string {
  return typeof value === 'string';
}
`,
  },
  javascript: {
    name: 'JavaScript',
    extension: () => javascriptLanguage,
    sample: `const fs = require('fs');
const path = █;

/** Reads a file of JSON. */
function readJson(file) {
  const text = fs.readFileSync(path.resolve(file), 'utf8');
  return JSON.parse(text);
}

function isString(value) {
  return typeof value === 'string';
}

module.exports = { readJson, isString };
`,
  },
  python: {
    name: 'Python',
    extension: () => pythonLanguage,
    sample: `import json
from pathlib import Path


def read_json(path):
    with open(path) as file:
        return █


def write_json(path, value):
    with open(path, "w") as file:
        json.dump(value, file)
`,
  },
  markdown: {
    name: 'Markdown',
    // CodeMirror's own Markdown includes HTML and CSS, a quarter of the page's size.
    extension: () => new EditorLanguage(defineLanguageFacet(), parser.configure(GFM), [], 'markdown'),
    sample: `# Quick start

Install the package:

\`\`\`sh
npm install █
\`\`\`

Then import it:

\`\`\`js
const quicksilver = require('quicksilver');
\`\`\`
`,
  },
};

export function languageName(language: Language): string {
  return ENTRIES[language].name;
}

export function languageExtension(language: Language): Extension {
  return ENTRIES[language].extension();
}

/** The sample's text, and the position of the cursor in it. */
export function sampleOf(language: Language): { text: string; cursor: number } {
  const { sample } = ENTRIES[language];
  return { text: sample.replace(CURSOR, ''), cursor: sample.indexOf(CURSOR) };
}
