import { createApp } from 'vue'
import App from './App.vue'
import { i18n, restoreLocale } from './locales'
import { router } from './router'
import './styles/index.css'

await restoreLocale()
createApp(App).use(i18n).use(router).mount('#app')
