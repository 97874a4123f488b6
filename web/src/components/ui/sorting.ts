/** As `aria-sort` says it. */
export type Order = 'ascending' | 'descending' | undefined

/** How `sort`, a name of the server's with a minus for descending, orders the column that has this name there. */
export function orderOf(sort: string, name: string | undefined): Order {
  if (!name) return undefined
  if (sort === name) return 'ascending'
  return sort === `-${name}` ? 'descending' : undefined
}

/** First descending, which is what one mostly wants of figures, then ascending, then the server's own order. */
export function turned(sort: string, name: string): string {
  const order = orderOf(sort, name)
  return order === undefined ? `-${name}` : order === 'descending' ? name : ''
}
