import type { OpenApi, Operation, Schema } from '@/api/system'

export interface DocumentedOperation {
  method: string
  path: string
  operation: Operation
}

const METHODS = ['get', 'post', 'put', 'patch', 'delete']

/** The operations by their tag (or else the first part of their path) that hold a word. */
export function groupsOf(document: OpenApi, word: string): { name: string; operations: DocumentedOperation[] }[] {
  const groups = new Map<string, DocumentedOperation[]>()
  const wanted = word.trim().toLowerCase()
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const method of METHODS) {
      const operation = methods[method]
      if (!operation) continue
      const text = `${method} ${path} ${operation.summary ?? ''} ${operation.description ?? ''}`.toLowerCase()
      if (wanted && !text.includes(wanted)) continue
      const name = operation.tags?.[0] ?? path.replace('/api/admin/', '').split(/[/{]/)[0] ?? path
      groups.set(name, [...(groups.get(name) ?? []), { method, path, operation }])
    }
  }
  return [...groups].sort(([a], [b]) => a.localeCompare(b)).map(([name, operations]) => ({ name, operations }))
}

/** A schema in one line, as TypeScript would say it: `KeyView[]`, `string | null`. */
export function typeOf(schema: Schema | undefined): string {
  if (!schema) return ''
  if (schema.$ref) return schema.$ref.split('/').at(-1) ?? ''
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ')
  const choices = schema.oneOf ?? schema.anyOf
  if (choices) return [...new Set(choices.map(typeOf))].join(' | ')
  if (schema.allOf) return schema.allOf.map(typeOf).join(' & ')
  const types = [schema.type ?? 'any'].flat()
  return types
    .map((type) => {
      if (type === 'array') return `${typeOf(schema.items) || 'any'}[]`
      if (type === 'object' && typeof schema.additionalProperties === 'object') return `{ [name]: ${typeOf(schema.additionalProperties)} }`
      return schema.format && type !== 'string' ? schema.format : type
    })
    .join(' | ')
}

/** What a schema refers to, for a table of its fields. */
export function resolve(schema: Schema | undefined, schemas: Record<string, Schema>): Schema | undefined {
  if (!schema) return undefined
  const inner = schema.items && schema.type === 'array' ? schema.items : schema
  return inner.$ref ? schemas[inner.$ref.split('/').at(-1) ?? ''] : inner
}

/** Fields of a schema, those of its parts included. */
export function fieldsOf(schema: Schema | undefined, schemas: Record<string, Schema>): { name: string; schema: Schema; required: boolean }[] {
  const known = resolve(schema, schemas)
  if (!known) return []
  const parts = (known.allOf ?? []).flatMap((part) => fieldsOf(part, schemas))
  const own = Object.entries(known.properties ?? {}).map(([name, property]) => ({
    name,
    schema: property,
    required: known.required?.includes(name) ?? false,
  }))
  return [...parts, ...own]
}
