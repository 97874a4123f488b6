import { readonly, ref } from 'vue'

export interface Question {
  title: string
  text?: string
  /** The word on the button that says yes. */
  action: string
  danger?: boolean
}

const question = ref<Question | null>(null)
let resolve: (isYes: boolean) => void = () => {}

/** Asks before something that cannot be taken back: `if (await confirm({…}))`. */
export function useConfirm() {
  function answer(isYes: boolean) {
    question.value = null
    resolve(isYes)
  }
  function confirm(asked: Question): Promise<boolean> {
    resolve(false)
    question.value = asked
    return new Promise((settle) => (resolve = settle))
  }
  return { question: readonly(question), confirm, answer }
}
