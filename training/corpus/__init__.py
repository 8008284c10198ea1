"""The training corpus: readable, permissively licensed source text from npm and PyPI packages.

JavaScript, TypeScript, Python and Markdown, and some of the JSON, YAML, CSS, HTML and shell files that come with them.
"""
