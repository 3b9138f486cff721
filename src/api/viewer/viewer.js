// Shows the OpenAPI document of this server. Everything from it becomes text, never markup.

const list = document.getElementById('list');
const search = document.getElementById('search');
const count = document.getElementById('count');

function element(name, { className, text } = {}, ...children) {
  const made = document.createElement(name);
  if (className !== undefined) made.className = className;
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

function limitsOf(schema) {
  const parts = [schema.enum === undefined ? schema.type : schema.enum.join(' | ')];
  if (schema.items !== undefined) parts.push(`of ${limitsOf(schema.items)}`);
  if (schema.minimum !== undefined || schema.maximum !== undefined) parts.push(`${schema.minimum ?? ''} to ${schema.maximum ?? ''}`);
  if (schema.minLength !== undefined || schema.maxLength !== undefined) parts.push(`${schema.minLength ?? 0} to ${schema.maxLength ?? ''} characters`);
  if (schema.default !== undefined) parts.push(`default ${JSON.stringify(schema.default)}`);
  return parts.join(', ');
}

function parametersOf(operation) {
  const body = operation.requestBody?.content['application/json'].schema;
  const inBody = Object.entries(body?.properties ?? {}).map(([name, schema]) => ({ name, required: body.required?.includes(name) === true, description: schema.description, schema }));
  return [...(operation.parameters ?? []), ...inBody];
}

function tableOf(parameters) {
  const head = element('tr', {}, ...['Name', 'Value', 'Meaning'].map((text) => element('th', { text })));
  const rows = parameters.map(({ name, required, description, schema }) =>
    element('tr', {}, element('td', {}, element('code', { text: name + (required ? '' : '?') })), element('td', { text: limitsOf(schema) }), element('td', { text: description ?? '' })),
  );
  return element('table', {}, element('thead', {}, head), element('tbody', {}, ...rows));
}

function entryOf(path, method, operation) {
  const parameters = parametersOf(operation);
  const title = element('summary', {}, element('code', { className: 'method', text: method.toUpperCase() }), element('code', { text: path }), element('span', { className: 'note', text: operation.summary }));
  const entry = element('details', {}, title, element('p', { text: operation.description }), ...(parameters.length === 0 ? [] : [tableOf(parameters)]));
  return { entry, tag: operation.tags[0], words: `${method} ${path} ${operation.summary}`.toLowerCase() };
}

function show(entries) {
  const wanted = search.value.trim().toLowerCase().split(/\s+/);
  const found = entries.filter(({ words }) => wanted.every((word) => words.includes(word)));
  const tags = Map.groupBy(found, ({ tag }) => tag);
  list.replaceChildren(...[...tags].flatMap(([tag, members]) => [element('h2', { text: tag }), ...members.map(({ entry }) => entry)]));
  count.textContent = `${found.length} methods`;
}

try {
  const answer = await fetch('/openapi.json');
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  const { paths } = await answer.json();
  const entries = Object.entries(paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => entryOf(path, method, operation)));
  search.addEventListener('input', () => show(entries));
  show(entries);
} catch (e) {
  list.replaceChildren(element('p', { text: `The API description could not be loaded: ${e.message}. Reload the page to try again.` }));
}
