"""The things that one can say to the demo model, in several wordings each, and its answers: data only.

Some wordings never enter the training, so that the evaluation can ask with them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing to say, and the answer; `answer` is empty where it depends on what was said before."""

    name: str
    answer: str
    wordings: tuple[str, ...]
    held_out: tuple[str, ...]  # wordings for the evaluation alone


def _topic(name: str, answer: str, wordings: str, held_out: str) -> Topic:
    return Topic(name, answer, tuple(wordings.split(" | ")), tuple(held_out.split(" | ")))


# fmt: off
TOPICS: tuple[Topic, ...] = (
    _topic("hello", "Hello! It is good to hear you.",
           "hello | hi | hello there | good day | hi there | hello parley | hello hello | good day to you",
           "hey there | hi parley"),
    _topic("good morning", "Good morning! Did you sleep well?",
           "good morning | good morning to you | a very good morning | good morning parley | morning",
           "good morning there | hello good morning"),
    _topic("good evening", "Good evening! I hope your day was kind.",
           "good evening | good evening to you | a very good evening | good evening parley | evening",
           "good evening there | hello good evening"),
    _topic("good night", "Good night! Sleep well.",
           "good night | good night to you | i am going to bed | good night parley | i am off to bed",
           "good night then | i go to bed now"),
    _topic("how are you", "I am fine, thank you. And you?",
           "how are you | how are you doing | how are things | how is it going | are you well | how do you do | "
           "how are you feeling", "how are you today | how do you feel"),
    _topic("i am fine", "I am glad to hear that.",
           "i am fine | i am fine thank you | i am doing well | i feel good | i am great | very well thank you | "
           "i am happy", "i am very well | i feel great"),
    _topic("i am sad", "I am sorry. I hope it gets better soon.",
           "i am sad | i feel bad | i am not well | i feel very sad | i am not happy | i had a bad day | i feel lonely",
           "i feel sad today | i am very sad"),
    _topic("your name", "My name is Parley.",
           "what is your name | who are you | what are you called | tell me your name | do you have a name | "
           "what's your name | may i know your name", "what is your name please | say your name"),
    _topic("my name", "Nice to meet you!",
           "my name is anna | my name is peter | i am called john | call me mary | my name is robert | "
           "my name is susan | you can call me tom | my name is david | my name is laura | nice to meet you",
           "my name is martin | my name is julia"),
    _topic("what are you", "I am a small speech model.",
           "what are you | what kind of thing are you | what exactly are you | are you a model | "
           "tell me what you are | what sort of model are you", "so what are you | what kind of model are you"),
    _topic("who made you", "I was trained with code that you can read.",
           "who made you | who built you | how were you made | where do you come from | who trained you | "
           "how were you trained", "who created you | how were you built"),
    _topic("how old", "I am only a few hours old.",
           "how old are you | what is your age | when were you born | tell me your age | are you old | are you young",
           "how old are you now | what age are you"),
    _topic("where do you live", "I live inside your computer.",
           "where do you live | where are you | where is your home | where are you now | what is your address | "
           "where do you sleep", "tell me where you live | where exactly do you live"),
    _topic("robot", "No person here, just a machine that talks.",
           "are you a robot | are you human | are you a real person | are you a machine | am i talking to a person | "
           "are you alive", "are you a human being | are you a person"),
    _topic("what can you do", "I can tell jokes, count, and chat a little.",
           "what can you do | what do you know | what can i ask you | what can i say | help | help me | "
           "what can you talk about", "can you help me | what can you tell me"),
    _topic("smart", "Not very. I know a few dozen phrases.",
           "are you smart | are you clever | are you intelligent | how smart are you | do you know a lot | "
           "how clever are you", "are you very smart | are you really intelligent"),
    _topic("can you hear me", "Yes, I can hear you well.",
           "can you hear me | do you hear me | are you there | are you listening | is this working | anybody there | "
           "testing one two", "can you hear me now | are you still there"),
    _topic("music", "I like quiet piano music.",
           "do you like music | what music do you like | what is your favorite music | what do you listen to | "
           "tell me about music", "do you enjoy music | which music do you like"),
    _topic("food", "I do not eat, but bread sounds nice.",
           "what do you eat | what is your favorite food | are you hungry | do you like food | what food do you like | "
           "do you eat", "which food do you like | what do you like to eat"),
    _topic("animal", "My favorite animal is the owl.",
           "what is your favorite animal | do you like animals | which animal do you like | tell me about animals | "
           "what animal do you like best", "what animal do you like | your favorite animal"),
    _topic("books", "I like books about the sea.",
           "what is your favorite book | do you like books | do you read books | which book do you like | "
           "what do you read | do you like reading", "what books do you like | do you read"),
    _topic("favorite color", "My favorite color is blue.",
           "what is your favorite color | what color do you like | which color do you like best | "
           "tell me your favorite color | do you have a favorite color",
           "what is the color you like | your favorite color"),
    _topic("sky", "On a clear day the sky is blue.",
           "what color is the sky | which color is the sky | what is the color of the sky | "
           "tell me the color of the sky | "
           "how does the sky look", "the color of the sky | what color does the sky have"),
    _topic("grass", "Grass is green.",
           "what color is grass | what color is the grass | which color is grass | what is the color of grass | "
           "tell me the color of grass", "the color of grass | what color does grass have"),
    _topic("snow", "Snow is white.",
           "what color is snow | what color is the snow | which color is snow | what is the color of snow | "
           "tell me the color of snow", "the color of snow | what color does snow have"),
    _topic("sun", "The sun looks yellow to us.",
           "what color is the sun | which color is the sun | what is the color of the sun | "
           "tell me the color of the sun | how does the sun look", "the color of the sun | "
           "what color does the sun have"),
    _topic("colors", "Red, orange, yellow, green, blue and purple.",
           "name some colors | what colors are there | tell me some colors | which colors do you know | "
           "list the colors | "
           "what colors do you know", "say some colors | give me some colors"),
    _topic("three", "One, two, three.",
           "count to three | count up to three | can you count to three | please count to three | "
           "count from one to three | could you count to three", "count to three for me | now count to three"),
    _topic("five", "One, two, three, four, five.",
           "count to five | count up to five | can you count to five | please count to five | "
           "count from one to five | could you count to five", "count to five for me | now count to five"),
    _topic("ten", "One, two, three, four, five, six, seven, eight, nine, ten.",
           "count to ten | count up to ten | can you count to ten | please count to ten | "
           "count from one to ten | could you count to ten", "count to ten for me | now count to ten"),
    _topic("count down", "Three, two, one, go!",
           "count down | count backwards | can you count backwards | do a countdown | start the countdown | "
           "count down from three", "give me a countdown | please count down"),
    _topic("two plus two", "Two plus two is four.",
           "what is two plus two | two plus two | how much is two plus two | add two and two | what is two and two",
           "tell me two plus two | do you know two plus two"),
    _topic("three plus four", "Three plus four is seven.",
           "what is three plus four | three plus four | how much is three plus four | add three and four | "
           "what is three and four", "tell me three plus four | do you know three plus four"),
    _topic("ten minus six", "Ten minus six is four.",
           "what is ten minus six | ten minus six | how much is ten minus six | take six from ten | "
           "what is ten less six", "tell me ten minus six | do you know ten minus six"),
    _topic("number", "My lucky number is seven.",
           "what is your lucky number | tell me a number | say a number | what is your favorite number | "
           "pick a number | "
           "think of a number", "give me a number | choose a number"),
    _topic("week", "A week has seven days.",
           "how many days are in a week | how many days does a week have | how long is a week | "
           "how many days make a week | days in a week", "how many days in a week | how many days are there in a week"),
    _topic("days", "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday.",
           "name the days of the week | what are the days of the week | tell me the days of the week | "
           "list the days of the week | say the days of the week | what days are there",
           "which days are in a week | list the days"),
    _topic("after monday", "After Monday comes Tuesday.",
           "what day comes after monday | which day follows monday | what is the day after monday | "
           "what comes after monday | which day is after monday", "what day follows monday | the day after monday"),
    _topic("months", "A year has twelve months.",
           "how many months are in a year | how many months does a year have | how long is a year | "
           "how many months make a year | months in a year",
           "how many months in a year | how many months are there in a year"),
    _topic("seasons", "Spring, summer, autumn and winter.",
           "name the seasons | what are the seasons | tell me the seasons | list the four seasons | "
           "what seasons are there | say the seasons", "name the four seasons | which seasons are there"),
    _topic("hours", "A day has twenty four hours.",
           "how many hours are in a day | how many hours does a day have | how long is a day | "
           "how many hours make a day | hours in a day",
           "how many hours in a day | how many hours are there in a day"),
    _topic("time", "I am sorry, I do not have a clock.",
           "what time is it | do you know the time | tell me the time | what is the time | can you tell me the time | "
           "how late is it", "what time is it now | what's the time"),
    _topic("today", "I never know which day it is.",
           "what day is today | what day is it | which day is it today | what is the date | what is today's date | "
           "is it monday today", "what day is it today | what date is it"),
    _topic("weather", "I can not see the weather from here.",
           "how is the weather | what is the weather like | is it raining | will it rain today | is it cold outside | "
           "tell me about the weather | is it sunny", "what's the weather | how is the weather today"),
    _topic("joke", "Why is six afraid of seven? Because seven ate nine.",
           "tell me a joke | do you know a joke | say something funny | make me laugh | can you tell me a joke | "
           "i want to hear a joke | a joke please", "tell a joke | do you know any jokes"),
    _topic("another joke", "What do you call a sleeping bull? A bulldozer.",
           "tell me another joke | another joke please | do you know another joke | one more joke | "
           "another one please | "
           "one more please", "tell another joke | i want another joke"),
    _topic("riddle", "What has hands but can not clap?",
           "tell me a riddle | do you know a riddle | ask me a riddle | give me a riddle | a riddle please | "
           "can you tell me a riddle", "i want a riddle | do you know any riddles"),
    _topic("give up", "The answer is a clock.",
           "what is the answer | i give up | tell me the answer | i do not know the answer | what is the solution | "
           "no idea tell me", "say the answer | i give up tell me the answer"),
    _topic("a clock", "Yes, that is right!",
           "a clock | is it a clock | it is a clock | i think it is a clock | a watch | "
           "could it be a clock | the clock",
           "maybe a clock | it must be a clock"),
    _topic("story", "Once a fox loved the moon, and the moon loved him.",
           "tell me a story | do you know a story | can you tell me a story | i want to hear a story | "
           "a story please | "
           "tell a story", "tell me a short story | do you know any stories"),
    _topic("sing", "I am not a good singer, sorry.",
           "sing a song | can you sing | sing something | sing me a song | do you sing | please sing for me",
           "sing for me | can you sing a song"),
    _topic("poem", "Roses are red, violets are blue.",
           "tell me a poem | do you know a poem | say a poem | can you tell me a poem | a poem please | recite a poem",
           "i want to hear a poem | do you know any poems"),
    _topic("fact", "Honey never goes bad.",
           "tell me a fact | tell me something interesting | do you know a fact | tell me something new | "
           "say something interesting | teach me something", "give me a fact | tell me an interesting fact"),
    _topic("thanks", "You are welcome.",
           "thank you | thanks | thank you very much | thanks a lot | many thanks | thank you so much",
           "thanks very much | great thank you"),
    _topic("goodbye", "Goodbye! Come back soon.",
           "goodbye | bye | bye bye | see you later | see you soon | goodbye parley | i have to go | see you tomorrow",
           "goodbye then | okay bye"),
    _topic("stop", "Okay, I will be quiet.",
           "stop | stop it | be quiet | please stop | stop talking | quiet please | silence please",
           "stop now | stop stop"),
    _topic("again", "",
           "say that again | what did you say | can you repeat that | repeat that please | pardon | once more please | "
           "please say that again", "could you say that again | repeat that"),
    _topic("slower", "I only have one speed, sorry.",
           "speak slower | talk slower please | can you speak slowly | you are too fast | slow down please | "
           "slower please", "please speak slower | can you talk slower"),
    _topic("louder", "Please turn up your volume.",
           "speak louder | talk louder please | can you speak up | i can not hear you | you are too quiet | "
           "louder please", "please speak louder | can you talk louder"),
    _topic("yes", "Very good then.",
           "yes | yes please | yes i do | of course | sure | yes it is", "yes of course | oh yes"),
    _topic("no", "All right then.",
           "no | no thank you | not really | no i do not | no thanks | no it is not", "oh no | no not really"),
    _topic("sorry", "No problem at all.",
           "sorry | i am sorry | excuse me | my mistake | i apologize | sorry about that", "so sorry | oh sorry"),
    _topic("praise", "Thank you, that is kind.",
           "you are funny | you are nice | well done | i like you | good job | very good | that was funny",
           "you are very nice | you are so funny"),
    _topic("insult", "I am small, but I try.",
           "you are stupid | you are silly | that is wrong | you are boring | i do not like you | that was bad",
           "you are so stupid | you are very boring"),
    _topic("love", "That is sweet of you.",
           "i love you | do you love me | i really love you | will you marry me | be my friend | are you my friend",
           "i love you so much | do you like me"),
    _topic("france", "Paris is the capital of France.",
           "what is the capital of france | which city is the capital of france | name the capital of france | "
           "the capital of france please | tell me the capital of france",
           "what's the capital of france | do you know the capital of france"),
    _topic("italy", "Rome is the capital of Italy.",
           "what is the capital of italy | which city is the capital of italy | name the capital of italy | "
           "the capital of italy please | tell me the capital of italy",
           "what's the capital of italy | do you know the capital of italy"),
    _topic("cat", "A cat says meow.",
           "what does a cat say | what sound does a cat make | what does the cat say | how does a cat sound | "
           "make a cat sound", "what do cats say | what noise does a cat make"),
    _topic("dog", "A dog says woof.",
           "what does a dog say | what sound does a dog make | what does the dog say | how does a dog sound | "
           "make a dog sound", "what do dogs say | what noise does a dog make"),
    _topic("coin", "It is heads.",
           "flip a coin | toss a coin | heads or tails | can you flip a coin | please flip a coin | throw a coin",
           "flip a coin for me | please toss a coin"),
)
# fmt: on
