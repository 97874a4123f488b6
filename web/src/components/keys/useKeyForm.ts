import { ref } from 'vue'
import { updateKey, type KeyView } from '@/api/keys'

/** What an operator says about a key, from what it is at `etag` on: a later change by somebody else is noticed. */
export function useKeyForm({ id, label, project, tier, weight, tags, models }: KeyView, etag: string | null) {
  const form = ref({
    label: label ?? '',
    project: project ?? '',
    tier: tier ?? '',
    weight: weight as number | null,
    tags: [...tags],
    only: [...models.only],
    not: [...models.not],
  })
  let version = etag

  async function save() {
    const { label, project, tier, weight, tags, only, not } = form.value
    const answer = await updateKey(
      id,
      { label: label.trim() || null, project: project.trim() || null, tier: tier || null, weight: Number(weight ?? 1), tags, models: { only, not } },
      version,
    )
    version = answer.etag
  }
  return { form, save }
}
