import vue from 'eslint-plugin-vue'
import accessibility from 'eslint-plugin-vuejs-accessibility'
import globals from 'globals'
import typescript from 'typescript-eslint'

export default typescript.config(
  { ignores: ['dist', 'node_modules'] },
  ...typescript.configs.recommended,
  ...vue.configs['flat/recommended'],
  ...accessibility.configs['flat/recommended'],
  {
    files: ['**/*.{ts,vue}'],
    languageOptions: {
      globals: globals.browser,
      parserOptions: { parser: typescript.parser, extraFileExtensions: ['.vue'] },
    },
    rules: {
      // The compiler knows all names already.
      'no-undef': 'off',
      'max-lines': ['error', { max: 300 }],
      'vue/multi-word-component-names': 'off',
      // What these ask for is a matter of line breaks.
      'vue/max-attributes-per-line': 'off',
      'vue/singleline-html-element-content-newline': 'off',
      'vue/html-closing-bracket-newline': 'off',
      'vue/html-self-closing': 'off',
      'vue/html-indent': 'off',
      // A style sheet of the document is what the content security policy lets through.
      'vue/no-static-inline-styles': 'error',
      'vue/no-v-html': 'error',
      'vuejs-accessibility/label-has-for': ['error', { required: { some: ['nesting', 'id'] } }],
    },
  },
  {
    files: ['src/components/**/*.vue', 'src/views/**/*.vue'],
    rules: {
      'max-lines': ['error', { max: 200 }],
      'no-restricted-globals': ['error', { name: 'fetch', message: 'A component asks src/api.' }],
    },
  },
)
