import { ref } from 'vue'
import { messageOf } from './useToasts'

/** Something that takes a moment and may fail: whether it runs, and what went wrong, for the place where it was begun. */
export function useTask() {
  const isBusy = ref(false)
  const problem = ref('')
  async function run(work: () => Promise<void>) {
    isBusy.value = true
    problem.value = ''
    try {
      await work()
    } catch (error) {
      problem.value = messageOf(error)
    } finally {
      isBusy.value = false
    }
  }
  return { isBusy, problem, run }
}
