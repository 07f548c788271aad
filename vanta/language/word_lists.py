"""Word lists of languages: function words, pronouns, calendars, number words. Data only.

A list is one text; its words stand between spaces. `other` are the scripts that are not Latin,
whose languages hardly share words. Invariant: words are written as people write them, and folded by
the code that reads them.
"""

from __future__ import annotations

FUNCTION_WORDS = {
    "en": """
    a about all also am an and any are as at be because been being both but by can could did do
    does doing done for from get got had has have having he her here hers him his how i if in into
    is it its just like me more most much my no not now of off on or our out over own s say says
    said she should so some such t tell than that the their them then there these they this those
    through to too up us very was we were what when where which while who whom whose why will with
    would you your yours ll re ve d m don didn doesn isn wasn
    """,
    "de": """
    aber alle als also am an auch auf aus bei bin bis bist da das dass dein deine dem den denn der
    des dich die dir doch du durch ein eine einem einen einer er es euch euer für gibt hab habe
    haben hat hast hatte heißt ich ihm ihn ihr ihre im in ist ja kann kein keine man mein meine
    meinem meinen meiner mich mir mit nach nicht noch nun nur ob oder schon sehr sein seine sich
    sie sind so über um und uns unser unsere vom von vor wann war waren warum was welche welchem
    welchen welcher welches wem wen wenn wer werde werden wessen wie wieder will wir wird wo woher
    wohin womit zu zum zur
    """,
    "fr": """
    à ai as au aux avec ce ces cette comment d dans de des du elle en est et été être il ils j je
    l la le les leur lui m ma mais me mes mon n ne nos notre nous on ont ou où par pas pour
    pourquoi qu quand que quel quelle quelles quels qui quoi s sa se ses son sont sur t ta te tes
    ton tu un une vos votre vous y
    """,
    "es": """
    a al como cómo con cuál cuáles cuándo cuánto cuántos de del donde dónde el él ella en es esa
    ese está estoy fue ha hay he la las le lo los me mi mis muy no nos o para pero por porque qué
    que quién se ser si sí soy son su sus te tengo ti tiene tu tus un una y ya yo
    """,
    "it": """
    a al alla anche che chi ci come con cosa cui da dal dei del della delle di dove è ed essere
    gli ha ho i il in io l la le lo lui ma mi mia mie miei mio ne nel nella non o per perché più
    qual quale quando quanti quanto questo se sei si sono su sua suo ti tu tua tuo un una uno
    """,
    "pt": """
    a ao aos as com como da das de do dos e ela ele em é está eu foi há isso me meu meus minha na
    não nas no nos o onde os ou para pelo por porque qual quais quando quanto que quem se sem seu
    são sua tem tenho teu tua um uma você
    """,
    "nl": """
    aan al als bij dat de den der deze die dit door een en er ga ging haar had heb hebben heeft
    heet hem het hij hoe hoeveel ik in is je jij jouw kan maar me met mij mijn naar niet nog nu of
    om onze ook op te toen u uit uw van voor waar waarom wanneer was wat we welk welke wie wij
    zijn zij zo
    """,
    "tr": """
    acaba ama ben bana beni benim bir bu bunu da daha de en gibi hangi hani için ile ise kaç kadar
    kim kimin mı mi mu mü ne neden nedir nerede nereye nereden ne o onu onun sen senin şu ve veya
    var ya zaman nasıl olan olarak çok değil
    """,
    "sv": """
    att av den det där du ett från för har hon hur hans i inte jag kan med men min mina mitt nu
    när och om på ska som till vad vem var varför vi är
    """,
    "pl": """
    a ale był była by co czy dla do gdzie go i ich ile ja jak jaki jaka jakie jest jestem kiedy
    kto która który ma mam mi mnie mój moja moje na nie o od po się są ten ta to tu w z za że
    """,
    "other": """
    в во и на не я ты он она мы вы они мой моя моё мои моего моей твой твоя его её их что кто где
    куда откуда когда как какой какая какое какие сколько почему зачем чей у к с со о об от по за
    из для до был была было были есть это этот эта же ли бы меня мне тебя тебе нас вам як що де
    коли хто є та у мій моя в في من على الى إلى عن هو هي هم انا أنا انت أنت نحن هل ما ماذا متى اين
    أين كيف كم لماذا من اي أي التي الذي هذا هذه ذلك كان كانت مع لي لك له لها عند عندي ثم او أو و
    של את אני אתה הוא היא אנחנו הם מה מי איפה מתי איך כמה למה איזה איזו האם על אל עם לא כן זה זאת
    יש לי שלי שלך גם או כי मैं मेरा मेरी मेरे तुम आप आपका हम वह यह वे ये का की के को में से पर ने
    है हैं था थी थे हो हूँ क्या कौन कब कहाँ कहां कैसे क्यों कितना कितने कितनी किस किसका और या भी
    तो नहीं एक लिए साथ रहा रही रहे सा सी से कौन सकता 나 내 저 제 우리 너 네 그 그녀 이 저는 나는
    무엇 뭐 누구 언제 어디 어디서 어떻게 왜 몇 어느 무슨 얼마 있 있어 있나 있습 없 하 했 것 수 등
    및 그리고 누가 뭐야 이름 ฉัน ผม คุณ เขา เธอ เรา ของ ที่ ไหน ที่ไหน อะไร ใคร เมื่อไหร่ เมื่อไร
    อย่างไร ยังไง ทำไม กี่ เท่าไหร่ เท่าไร เป็น คือ อยู่ มี ได้ ไม่ ใช่ และ หรือ แต่ กับ ใน บน จาก
    ไป มา ให้ ว่า นี้ นั้น ครับ ค่ะ คะ ชื่อ ชื่ออะไร
    """,
}
"""Articles, pronouns, auxiliaries, prepositions and question words, by language."""

HAN_FUNCTION_CHARACTERS = (
    "的了是在我你您他她它们們这這那哪谁誰什么甚麼么吗嗎呢吧啊呀和与與及或也都就还還很"
    "太有没沒不要会會能可以把被给給从從到对對向为為个個之其些几幾多少里裡吗怎样樣时時"
    "候何于於上下去来來"
)

KANA_FUNCTION_WORDS = """
    です ます でした ました ません という である ください でしょう どこ だれ なに なん いつ どう
    どの どれ なぜ いくつ いくら この その あの これ それ あれ ここ そこ わたし あなた ている
    ています いますか ですか ますか している しています から まで より ので のに けど って との
    には では とは への からの までの のは のが のを のです にある がある である には という
    について ありますか ましたか したか した する して して います
"""

FIRST_PERSON = {
    "en": "i me my mine we our us",
    "de": "ich mein meine meinem meinen meiner mich mir wir unser unsere uns",
    "fr": "j je m me mon ma mes moi nous notre nos",
    "es": "yo mi mis me nos nuestro nuestra",
    "it": "io mi mio mia mie miei noi nostro nostra",
    "pt": "eu me meu meus minha minhas nosso nossa",
    "nl": "ik me mij mijn wij we ons onze",
    "tr": "ben bana beni benim biz bizim",
    "sv": "jag mig min mina mitt vi vår",
    "pl": "ja mnie mi mój moja moje my nasz",
    "other": """
    я меня мне мой моя моё мои моего моей мы наш انا أنا لي אני שלי לי मैं मेरा मेरी मेरे मुझे हम
    我 私 僕 俺 나 내 저 제 ฉัน ผม
    """,
}
"""Pronouns of the speaker, by language."""

SECOND_PERSON = {
    "en": "you your yours",
    "de": "du dein deine deinem deinen dich dir sie ihr",
    "fr": "tu t te ton ta tes vous votre vos",
    "es": "tú tu te ti usted",
    "it": "tu ti tuo tua",
    "pt": "você tu te teu tua",
    "nl": "je jij jou jouw u uw",
    "tr": "sen sana seni senin siz",
    "sv": "du dig din ditt dina",
    "pl": "ty ci ciebie twój twoja twoje",
    "other": """
    ты тебя тебе твой твоя вы вас вам ваш انت أنت لك אתה את שלך तुम आप आपका तुम्हारा 你 您 あなた
    너 네 คุณ
    """,
}
"""Pronouns of the listener, by language."""

CALENDAR = """
    enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre lunes
    martes miércoles jueves viernes sábado domingo janvier février mars avril mai juin juillet
    août septembre octobre novembre décembre lundi mardi mercredi jeudi vendredi samedi dimanche
    gennaio febbraio aprile maggio giugno luglio settembre ottobre dicembre lunedì martedì
    mercoledì giovedì venerdì sabato domenica janeiro fevereiro março maio junho julho setembro
    outubro dezembro segunda terça quarta quinta sexta januari februari maart mei juni juli
    augustus september oktober november december maandag dinsdag woensdag donderdag vrijdag
    zaterdag zondag måndag tisdag onsdag torsdag fredag lördag söndag января февраля марта апреля
    мая июня июля августа сентября октября ноября декабря понедельник вторник среда среду четверг
    пятница пятницу суббота субботу воскресенье stycznia lutego marca kwietnia maja czerwca lipca
    sierpnia września października listopada grudnia
"""
"""Months and weekdays of languages that write them without a capital."""

NUMBER_WORDS = {
    "en": "two three four five six seven eight nine ten eleven twelve",
    "de": "zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    "fr": "deux trois quatre cinq six sept huit neuf dix onze douze",
    "es": "dos tres cuatro cinco seis siete ocho nueve diez once doce",
    "it": "due tre quattro cinque sei sette otto nove dieci undici dodici",
    "pt": "dois três quatro cinco seis sete oito nove dez onze doze",
    "nl": "twee drie vier vijf zes zeven acht negen tien elf twaalf",
    "ru": "два три четыре пять шесть семь восемь девять десять одиннадцать двенадцать",
    "tr": "iki üç dört beş altı yedi sekiz dokuz on onbir oniki",
    "ar": "اثنان ثلاثة اربعة خمسة ستة سبعة ثمانية تسعة عشرة",
    "hi": "दो तीन चार पांच छह सात आठ नौ दस ग्यारह बारह",
}
"""Two to twelve, by language; "one" is an article in most."""

NEGATIONS = {
    "en": "not no never cannot none nobody nothing neither nor without",
    "de": "nicht kein keine keinen keinem keiner nie niemals nein nichts",
    "fr": "ne n pas jamais non aucun aucune",
    "es": "no nunca jamas ningun ninguna tampoco",
    "it": "non no mai nessun nessuna",
    "pt": "nao nunca nenhum nenhuma",
    "nl": "niet geen nooit nee",
    "tr": "degil yok hayir asla",
    "sv": "inte ingen inget aldrig nej",
    "pl": "nie nigdy",
    "other": "не нет ни никогда нельзя ні немає لا ليس ليست لم لن לא אין नहीं न tidak bukan khong",
}
"""Words that deny a clause, folded, by language."""
