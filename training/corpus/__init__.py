"""The training corpus: readable, permissively licensed JavaScript, TypeScript and Markdown from npm packages."""
