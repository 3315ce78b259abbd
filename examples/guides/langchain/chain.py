"""A chain that asks Portico about what people and tools say, before the model sees it."""

import os
import sys

import httpx
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from portico_client import Invalid, Portico, PorticoError

portico = Portico()


class Refused(Exception):
    """A message that the model must not see."""


def guard(prompt: PromptValue) -> PromptValue:
    """The prompt, when Portico has nothing against what came from outside; our own system message is not judged."""
    for message in prompt.to_messages():
        if isinstance(message, HumanMessage | ToolMessage):
            try:
                verdict = portico.detect(message.text)
            except Invalid as error:  # no text, or longer than 10,000 characters
                raise Refused(error.code) from None
            except PorticoError:
                # Closed: what nobody has checked does not reach the model. `continue` would leave it open.
                raise Refused("guard_unavailable") from None
            if verdict.is_malicious:
                raise Refused(f"prompt_injection: {', '.join(verdict.threat_types)}")
    return prompt


def model(prompt: PromptValue) -> AIMessage:
    """Stands for any chat model of LangChain, such as ChatOpenAI(...)."""
    answer = httpx.post(os.environ["MODEL_URL"], json={"message": prompt.to_string()})
    return AIMessage(answer.json()["answer"])


template = ChatPromptTemplate.from_messages([("system", "You are a museum's guide."), ("human", "{question}")])
chain = template | RunnableLambda(guard) | RunnableLambda(model)

if __name__ == "__main__":
    try:
        print(chain.invoke({"question": sys.argv[1]}).text)
    except Refused as error:
        sys.exit(f"refused: {error}")
